"""What one machine is given: boot scripts, cloud-init data, network configuration and the layout of its disk."""
