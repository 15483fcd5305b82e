"""Ways to make DHCP hosts live, one module with one constant `STRATEGY` each; see base.py for what they promise."""
