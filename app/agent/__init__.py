"""
The program that runs inside machines: enlist, commission, install and erase.

It runs as root in the ephemeral image, on the Python of that image (3.11 or newer), and uses the standard library and
the image's own tools, nothing else. Nothing of ours is imported here and nothing of ours imports it: the control plane
only packs the files of this folder, so every import inside is relative or from the standard library
(`tests/unit/test_agent_imports.py` holds this).

How it is packed: the control plane zips every `*.py` below this folder under the name `agent/` (so this file becomes
`agent/__init__.py`) and adds one generated file at the root of the zip, `__main__.py`:

    from agent.main import main
    raise SystemExit(main())

The result runs as `python3 agent.pyz`. It reads `muster.url` and `muster.token` from /proc/cmdline, fetches its task
from the machine edge, does it, reports every step, and carries out the task's `then` (power off or restart) only after
the control plane has accepted the report. After a failure the machine stays up, so that somebody can look at it.

- `main` is the whole course of a run; `edge` talks HTTP; `runner` runs commands; `probe` reads the machine.
- `inventory/` has one module per commission script, found by its name; each has pure `parse_*` functions over captured
  text and one thin `collect(probe)`.
- `install_plan`, `erase_plan` and `disks` are pure: they turn facts into lists of commands. `install`, `erase`,
  `download` and `target_files` carry them out.
- Every line printed (`muster: ...`) may show on a serial console that others can read: no secret is ever printed, put
  into a command's arguments, or sent in a status message.
"""
