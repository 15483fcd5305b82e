"""Pure rendering: a RackIntent goes in, bundles of files and plans come out.

No clock, random, socket, environment or database here.
"""
