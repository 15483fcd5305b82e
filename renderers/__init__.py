"""Pure rendering: a RackIntent goes in, bundles of files and plans come out; no clock, random, socket, environment or database."""
