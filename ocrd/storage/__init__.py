"""All that is durable: writes that are whole or absent, the spool, jobs and their records, publishing, the ledger.

In: bytes, paths and names. Out: files where they belong, or MachineError. No other room writes into work, outbox,
archive or error. May import output (for the names and facts that it writes down), config and what lies below.
"""
