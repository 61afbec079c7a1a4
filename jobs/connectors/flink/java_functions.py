"""The jar of the Java classes (``java/*.java``), compiled by Flink's own Janino at submission.

``LineFormat`` is the value format ``walras-line``: Flink SQL has no format that decodes a line once and keeps its
bytes, its fields and its verdict together. ``FirstSeen`` and ``Sessions`` are table functions of the cell query;
Flink SQL's own deduplication and session windows keep five times as much state.

Janino is in every Flink's lib folder, so neither a JDK nor a build tool is needed, and the jar is shipped to any
cluster with the job.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

SOURCES = tuple(sorted(Path(__file__).with_name("java").glob("*.java")))
FORMAT = "walras-line"
FUNCTIONS = ("FirstSeen", "Sessions")
"""Names of the table functions in SQL."""


def java_jar(folder: Path) -> Path:
    """Compile the sources into ``folder`` unless the jar of the same sources exists; return the jar's path.

    Needs PyFlink's gateway: a job that is being submitted, or a test.

    Raises
    ------
    py4j.protocol.Py4JJavaError
        With line and column, if a source does not compile.
    """
    texts = [source.read_text() for source in SOURCES]
    jar = folder / f"walras-{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:12]}.jar"
    if not jar.exists():
        folder.mkdir(parents=True, exist_ok=True)
        classes = {name: code for text in texts for name, code in _compiled(text).items()}
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


def add_java_jar(env: Any, folder: Path) -> None:
    """Add the jar to an environment and to its job (SQL's ADD JAR adds it to the client alone)."""
    env.add_jars(java_jar(folder).absolute().as_uri())


def declare_functions(table_env: Any) -> None:
    """Declare the table functions for an environment's SQL; call :func:`add_java_jar` first."""
    for name in FUNCTIONS:
        table_env.create_java_temporary_system_function(name, f"walras.{name}")


def _compiled(source: str) -> dict[str, bytes]:
    from pyflink.java_gateway import get_gateway

    jvm: Any = get_gateway().jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setTargetVersion(8)  # StringData.fromString is a static interface method, which needs Java 8.
    compiler.setParentClassLoader(jvm.java.lang.Thread.currentThread().getContextClassLoader())
    compiler.cook(source)
    found = compiler.getBytecodes()
    return {str(name): bytes(found[name]) for name in found}
