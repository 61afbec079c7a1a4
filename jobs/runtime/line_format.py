"""The jar of the format ``walras-line`` (``LineFormat.java``), compiled by Flink's own Janino at submission.

Why: Flink SQL has no way to read a line once and keep its bytes, its fields and its verdict together.
Janino lies in every Flink's lib folder, so neither a JDK nor a build tool is needed, and the jar
travels to any cluster with the job.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("LineFormat.java")
FORMAT = "walras-line"


def line_format_jar(folder: Path) -> Path:
    """Compile the format into ``folder`` unless this very source already lies there; answer the jar's path.

    Needs PyFlink's gateway (so: a job being submitted, or a test).

    Raises
    ------
    py4j.protocol.Py4JJavaError
        With the line and column, if the source does not compile.
    """
    source = SOURCE.read_text()
    jar = folder / f"walras-line-{hashlib.sha256(source.encode()).hexdigest()[:12]}.jar"
    if not jar.exists():
        folder.mkdir(parents=True, exist_ok=True)
        classes = _compiled(source)
        fresh = jar.with_suffix(".new")
        with zipfile.ZipFile(fresh, "w") as out:
            for name, code in sorted(classes.items()):
                out.writestr(zipfile.ZipInfo(name.replace(".", "/") + ".class"), code)
            out.writestr(
                zipfile.ZipInfo("META-INF/services/org.apache.flink.table.factories.Factory"),
                "walras.LineFormat\n",
            )
        fresh.replace(jar)
    return jar


def add_line_format(env: Any, folder: Path) -> None:
    """Make the format known to an environment and ship it with its job (SQL's ADD JAR stays in the client)."""
    env.add_jars(line_format_jar(folder).absolute().as_uri())


def _compiled(source: str) -> dict[str, bytes]:
    from pyflink.java_gateway import get_gateway

    jvm: Any = get_gateway().jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setTargetVersion(8)  # StringData.fromString is a static method of an interface
    compiler.setParentClassLoader(jvm.java.lang.Thread.currentThread().getContextClassLoader())
    compiler.cook(source)
    found = compiler.getBytecodes()
    return {str(name): bytes(found[name]) for name in found}
