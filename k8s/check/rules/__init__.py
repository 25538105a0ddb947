"""Rules across objects and against the programs. Each module has `check(rendering)`, which yields findings;
main.py runs them all on every rendering."""
