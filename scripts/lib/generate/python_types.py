"""sidecar/schema/types.py: datamodel-code-generator's msgspec structs, tidied.

The tool repeats every description inside Meta (read on no path of ours) and makes an absent member UNSET.
Here a description stays as the docstring only, an absent member is None, every struct is frozen, and the
values of an enum get their own descriptions.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from schema import HEADER, Schema

BASES = {False: "sidecar.schema.base.Params", True: "sidecar.schema.base.Value"}  # by additionalProperties
OPTIONS = (
    "--input-file-type=jsonschema --output-model-type=msgspec.Struct --target-python-version=3.11"
    " --snake-case-field --no-alias --keyword-only --use-annotated --use-specialized-enum"
    " --capitalise-enum-members --use-schema-description --use-field-description --use-single-line-docstring"
    " --use-type-alias --use-standard-collections --use-union-operator --skip-root-model --keep-model-order"
    " --disable-timestamp --formatters=builtin"
)


def generate(schema: Schema) -> str:
    tree = ast.parse(_codegen(schema))
    tree = Tidy(schema).visit(tree)
    names = [name for node in tree.body for name in _defined(node)]
    tree.body.append(ast.parse(f"__all__ = {sorted(names)!r}").body[0])
    text = f'"""{HEADER}"""\n\n{ast.unparse(ast.fix_missing_locations(tree))}\n'
    return format_python(text)


def format_python(text: str) -> str:
    """As ``ruff format`` and the import sorter would leave it."""
    for command in (["check", "--fix-only", "--select=I,F401"], ["format"]):
        text = subprocess.run(
            [
                sys.executable,
                "-m",
                "ruff",
                *command,
                "--quiet",
                "--stdin-filename=sidecar/schema/new.py",
                "-",
            ],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return text


def _codegen(schema: Schema) -> str:
    """Runs the tool on the $defs without Void, which has no type of its own in Python."""
    defs = {name: node for name, node in schema.defs.items() if name != "Void"}
    objects = {name: node for name, node in defs.items() if node.get("type") == "object"}
    bases = {name: BASES[node.get("additionalProperties", True)] for name, node in objects.items()}
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "schema.json"), Path(folder, "types.py")
        source.write_text(json.dumps({"$schema": schema.root["$schema"], "$defs": defs}))
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "datamodel_code_generator", *OPTIONS.split(),
             f"--input={source}", f"--output={out}", f"--base-class-map={json.dumps(bases)}"],
            check=True,
        )  # fmt: skip
        return out.read_text()


class Tidy(ast.NodeTransformer):
    """Rewrites the tool's module; its only classes are structs and enums."""

    def __init__(self, schema: Schema) -> None:
        self._enums = schema.enums

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        if node.name in self._enums:
            node.body = [part for member in node.body for part in self._described(node.name, member)]
        else:
            node.keywords = [ast.keyword("frozen", ast.Constant(True)), *node.keywords]
        return node

    def _described(self, enum: str, member: ast.stmt) -> list[ast.stmt]:
        if not isinstance(member, ast.Assign) or not isinstance(member.value, ast.Constant):
            return [member]
        text = self._enums[enum]["x-enumDescriptions"][member.value.value]
        return [member, ast.Expr(ast.Constant(text))]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(None) if node.id in ("UnsetType", "UNSET") else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Annotated[T, Meta(...)] without description and title, or just T where nothing is left."""
        self.generic_visit(node)
        if not (isinstance(node.value, ast.Name) and node.value.id == "Annotated"):
            return node
        assert isinstance(node.slice, ast.Tuple)
        inner, meta = node.slice.elts
        assert isinstance(meta, ast.Call)
        meta.keywords = [k for k in meta.keywords if k.arg not in ("description", "title")]
        return node if meta.keywords else inner


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return [node.name]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []
