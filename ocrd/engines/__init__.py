"""Engines turn page images into readings. Each is the only importer of its library, and imports it late."""
