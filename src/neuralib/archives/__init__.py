"""What leaves NeuraLib in one file, and comes back from it: names, the zip itself, its manifest.

names.py     a place in the archive for every file, that every system can unpack
stream.py    members -> the bytes of a zip, as they are read
manifest.py  what stands in manifest.json and LICENSES.txt
"""
