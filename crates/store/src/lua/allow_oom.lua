#!lua flags=allow-oom
-- Stands first in scripts that must run while the server is out of memory: they keep alive what is there, or remove.
