"""The language of list filters: text in, a checked condition out. The entry is `reading.py`."""
