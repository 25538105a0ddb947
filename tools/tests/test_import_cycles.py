"""What `import-cycles` takes for a dependency, in small crates made up for it. tools/tests/run runs it."""

import subprocess
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parent.parent / "import-cycles"


def check(files):
    """The tool's exit code and output for a tree of these files: scripts of the gateway, and a crate's sources."""
    with tempfile.TemporaryDirectory() as top:
        (Path(top) / "crate").mkdir()
        (Path(top) / "crate/Cargo.toml").write_text("[package]\n")
        for name, text in files.items():
            path = Path(top) / (name if name.startswith("gateway/") else f"crate/src/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([TOOL, top], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


class ImportCycles(unittest.TestCase):
    def assert_circle(self, files, *members):
        code, said = check(files)
        self.assertEqual(code, 1, said)
        for member in members:
            self.assertIn(f"{member}:", said)
        return said

    def assert_none(self, files):
        code, said = check(files)
        self.assertEqual(code, 0, said)
        self.assertTrue(said.startswith("0 import circles"), said)

    def test_two_files_that_use_each_other(self):
        said = self.assert_circle(
            {
                "lib.rs": "mod a; mod b;",
                "a.rs": "use crate::b::B;\npub struct A(B);",
                "b.rs": "pub struct B;\nfn f() { crate::a::A::new() }",
            },
            "crate/src/a.rs",
            "crate/src/b.rs",
        )
        self.assertIn("crate/src/a.rs:1 uses crate::b::B of crate/src/b.rs", said)

    def test_a_longer_circle_through_a_use_tree(self):
        self.assert_circle(
            {
                "lib.rs": "mod a; mod b; mod c;",
                "a.rs": "use crate::{b::{self, B}, std::x};\npub struct A;",
                "b.rs": "use super::c;\npub struct B; fn f() { c::go() }",
                "c.rs": "use crate::a::A as Other;\npub fn go() {}",
            },
            "crate/src/a.rs",
            "crate/src/b.rs",
            "crate/src/c.rs",
        )

    def test_one_direction_is_no_circle(self):
        self.assert_none({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B;", "b.rs": "pub struct B;"})

    def test_a_declaration_and_a_reexport_are_no_dependency(self):
        self.assert_none(
            {
                "lib.rs": "mod parent; pub use parent::Child;",
                "parent/mod.rs": "mod child;\npub use child::Child;\npub struct Parent;",
                "parent/child.rs": "use super::Parent;\npub struct Child;",
            }
        )

    def test_a_reexport_that_is_used_is_a_dependency(self):
        self.assert_circle(
            {
                "lib.rs": "mod parent;",
                "parent.rs": "mod child;\npub use child::Child;\npub struct Parent(Child);",
                "parent/child.rs": "use super::Parent;\npub struct Child;",
            },
            "crate/src/parent.rs",
        )

    def test_a_use_goes_to_where_the_item_is_defined(self):
        # By way of the façade, `a` uses `facade/inner` and not the façade, which uses `a`.
        self.assert_none(
            {
                "lib.rs": "mod a; mod facade;",
                "facade.rs": "mod inner;\npub use inner::*;\nuse crate::a::A;",
                "facade/inner.rs": "pub struct Inner;",
                "a.rs": "use crate::facade::Inner;\npub struct A;",
            }
        )

    def test_tests_strings_and_comments_do_not_count(self):
        self.assert_none(
            {
                "lib.rs": "mod a; mod b;",
                "a.rs": "use crate::b::B;\npub struct A;",
                "b.rs": """
                    pub struct B;
                    // use crate::a::A;
                    /* crate::a::A /* nested */ crate::a::A */
                    const TEXT: &str = "crate::a::A"; const QUOTE: char = '"'; const RAW: &str = r#"crate::a::A""#;
                    #[cfg(test)]
                    mod tests;
                    #[cfg(test)]
                    use crate::a::A;
                    #[cfg(test)]
                    mod inline { use crate::a::A; }
                    #[cfg(any(test, feature = "testing"))]
                    fn only_tests() -> crate::a::A { crate::a::A }
                """,
                "b/tests.rs": "use crate::a::A;",
            }
        )

    def test_what_is_left_out_of_tests_counts(self):
        self.assert_circle(
            {
                "lib.rs": "mod a; mod b;",
                "a.rs": "use crate::b::B;\npub struct A;",
                "b.rs": "pub struct B;\n#[cfg(not(test))]\nuse crate::a::A;",
            },
            "crate/src/b.rs",
        )

    def test_inline_modules_are_part_of_their_file(self):
        self.assert_circle(
            {
                "lib.rs": "mod a; mod b;",
                "a.rs": "pub mod part { use super::super::b::B; pub struct A; }",
                "b.rs": "use crate::a::part::A;\npub struct B;",
            },
            "crate/src/a.rs",
        )

    def test_scripts_that_import_each_other(self):
        lib = {"lib.rs": ""}
        one = {"gateway/ui/src/one.ts": "import { a,\n  b } from './two';\nexport const c = 1;"}
        self.assert_none({**lib, **one, "gateway/ui/src/two.ts": "import x from 'one';\nexport const a = 1;"})
        self.assert_circle(
            {**lib, **one, "gateway/ui/src/two.ts": "import type { C } from './one.js';\nexport const a = 1;"},
            "gateway/ui/src/one.ts",
            "gateway/ui/src/two.ts",
        )
        self.assert_circle(
            {**lib, **one, "gateway/ui/src/two/index.ts": "export * from '../one';"}, "gateway/ui/src/two/index.ts"
        )

    def test_a_lower_layer_does_not_import_a_higher_one(self):
        tree = {
            "lib.rs": "",
            "gateway/Cargo.toml": "[package]\n",
            "gateway/src/lib.rs": "mod chat; mod hub;",
            "gateway/src/chat/mod.rs": "use crate::hub::Hub;\npub struct Chat;",
            "gateway/src/hub/mod.rs": "pub struct Hub;",
        }
        self.assert_none(tree)
        tree["gateway/src/chat/mod.rs"] = "pub struct Chat;"
        tree["gateway/src/hub/mod.rs"] = "use crate::chat::Chat;\npub struct Hub(Chat);"
        code, said = check(tree)
        self.assertEqual(code, 1, said)
        self.assertIn("gateway/src/hub/mod.rs:1 is below gateway/src/chat/mod.rs", said)


if __name__ == "__main__":
    unittest.main()
