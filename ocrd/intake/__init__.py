"""What lies in an inbox, and when it is complete: scanning, settling, grouping, watching for events.

In: a folder and the settings of its watch. Out: sources that have settled, with their stamps; reasons why others
wait. It changes nothing but its own probe file. May import storage, config and what lies below.
"""
