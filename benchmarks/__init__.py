"""How fast the library is beside the driver used by hand, and beside others: see `README.md`.

`__main__` is the command and `running` what it runs. An engine is a module (`memory`, `files`,
`sqlite`, `postgresql`, `mariadb`, `dynamodb`) that opens `variants`: this library and its rivals.
`operations` says what is asked of them and checks the answers, `documents` what they hold;
`measuring` measures that, and `migration` what a migration costs. `goals` knows what is to be
reached; `report`, `plots` and `results` show what was.
"""
