"""How fast the library is, beside its drivers and others of its kind: `python -m benchmarks`.

`__main__` is the command; `documents` what is stored; `engines` the variants that are compared, one
module an engine; `measuring` the closed loops; `goals` which of them are compared with what;
`report` the table, the JSON, the plots and `RESULTS.md`.
"""
