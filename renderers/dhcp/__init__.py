"""What DHCP servers are told: options, boot files, scopes and what people add to them; shared by the rendered servers."""
