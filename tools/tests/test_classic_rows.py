"""What `classic-rows` finds wrong with a table of originals, in small trees made up for it. tools/tests/run runs it."""

import subprocess
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parent.parent / "classic-rows"
FILES = {
    "docs/CONFIGURATION.md": "`--grace`\n",
    "gateway/tests/e2e/a.test.mjs": "story('ann\\'s page', async () => {\n  await step(`the rooms of ${chat}`, f);\n});\n",
    "gateway/src/edge/socketio/dialects/a/mod.rs": "#[test]\nfn a_join_takes_the_name() {}\nfn not_a_test() {}\n",
}


def check(cell):
    """The tool's exit code and output for a table with one row, whose answer is this."""
    with tempfile.TemporaryDirectory() as top:
        for name, text in {**FILES, "docs/CLASSIC.md": f"| 000-01 | a row | {cell} |\n"}.items():
            path = Path(top) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([TOOL, top], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


class ClassicRows(unittest.TestCase):
    def test_what_exists_is_found(self):
        for cell in (
            '"ann\'s page"; "the rooms of": `#room`',
            "a_join_takes_the_name",
            "`gateway/tests/e2e/a.test.mjs`",
            "`--grace` in [CONFIGURATION](CONFIGURATION.md)",
        ):
            self.assertEqual(check(cell), (0, ""), cell)

    def test_what_is_missing_is_named(self):
        for cell, said in {
            '"bob\'s page"': "no story or step",
            "not_a_test": "no unit test not_a_test",
            "`docs/none.md`": "no file",
            "`--none`": "no flag",
            "[NONE](NONE.md)": "no page",
            "all steps": "names neither",
        }.items():
            code, found = check(cell)
            self.assertEqual(code, 1, cell)
            self.assertIn(said, found)
