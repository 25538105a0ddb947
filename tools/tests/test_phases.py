"""What `phase` and its table of lib.sh promise. tools/tests/run runs it."""

import subprocess
import unittest
from pathlib import Path

LIB = Path(__file__).resolve().parent.parent / "lib.sh"


def run(script):
    done = subprocess.run(["bash", "-c", f". {LIB}\n{script}"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


class Phases(unittest.TestCase):
    def test_a_table_ends_a_script_that_succeeds(self):
        code, said = run("phases_table\nphase one true\nphase 'the second' echo done")
        self.assertEqual(code, 0)
        table = [line.split() for line in said.splitlines()[-3:]]
        self.assertEqual(table, [["one", "0", "s"], ["the", "second", "0", "s"], ["total", "0", "s"]])

    def test_a_failure_ends_the_script_with_its_status_and_is_in_the_table(self):
        code, said = run("phases_table\nphase one true\nphase two bash -c 'exit 7'\nphase three true")
        self.assertEqual(code, 7)
        self.assertNotIn("three", said)
        self.assertRegex(said, r"(?m)^two +\d+ s, FAILED$")
        self.assertRegex(said, r"(?m)^total +\d+ s$")


if __name__ == "__main__":
    unittest.main()
