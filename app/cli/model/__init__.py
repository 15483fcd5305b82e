"""The network model as a file: its kinds of things, its text, and what differs between a file and a control plane.

`kinds`, `text` and `plan` are pure; `reading` asks the API for everything that there is, `carrying` makes changes.  Things are
named as people name them (a subnet by its network, a device by its hostname), never by ids, so that a file made at one
control plane can be applied at another.  Secrets are in no list of the API and so in no file.
"""
