"""Whether SQL that a client wrote does no more than to read the tables of its source.

The database is locked too (see the modules in `engines`): this check is the first of two locks,
and each holds alone. It reads the statement twice. As *words*, which needs no understanding:
comments go, and what reaches the database are the words that were looked at; a word before a
parenthesis must be the name of an allowed function. And as a *tree*, by sqlglot: one query, of
tables that are served or are named in its own WITH.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from unspool._optional import require
from unspool.errors import shown
from unspool.serve.engines.base import Engine
from unspool.serve.functions import FUNCTIONS, NOT_FUNCTIONS, words
from unspool.serve.problems import BadStatement, Forbidden

__all__ = ["SQL_CHARS_MAX", "Checked", "check"]

SQL_CHARS_MAX = 20_000
"""The longest statement: beyond it nobody writes by hand, and parsers get slow."""

# sqlglot reads nested parentheses by trial and error, and Python has a stack.
_WORDS_MAX = 5_000
_DEPTH_MAX = 40

# Words that no query needs, if they are not in quotes: they begin other statements, write, wait for
# locks, or say who the server is.
_DENIED = words(
    """
    alter analyze attach begin call checkpoint commit copy create current_catalog current_role
    current_schema current_user deallocate declare delete describe detach do drop dumpfile execute
    explain export grant handler import insert install into kill listen load lock merge
    notify outfile pragma prepare procedure reassign refresh reindex release rename reset revoke
    rollback savepoint security session_user set share show summarize system_user table truncate
    unlisten update upsert use vacuum
    """
)

# Names of functions, too: `insert(text, …)`, `replace(text, …)`.
_DENIED_UNLESS_CALLED = frozenset({"insert", "rename"})

_WORD = re.compile(r"\w+")
_RUN = re.compile(r"/\*M?!")
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")

# Kinds of words that databases read differently from sqlglot, or that stand for something else.
_KINDS_DENIED = words(
    """
    BLOCK_START BLOCK_END BYTE_STRING COMMAND HEREDOC_STRING HINT INTRODUCER NATIONAL_STRING
    PARAMETER PLACEHOLDER RAW_STRING SESSION_PARAMETER UNICODE_STRING BACKSLASH HASH_DASH
    """
)
_QUOTED = frozenset({"STRING", "IDENTIFIER", "BIT_STRING", "HEX_STRING"})


class Checked(NamedTuple):
    """A statement as it is to be run; `limit` is the most rows it can have, if it says so."""

    sql: str
    limit: int | None


def check(sql: str, engine: Engine) -> Checked:
    """The statement, checked.

    Raises:
        BadStatement: it cannot be read.
        Forbidden: it is no query, or reads something else than the tables of `engine`.
    """
    tokens = _tokens(sql, engine.dialect)
    _check_comments(tokens, sql)
    _check_words(tokens, sql, engine.dialect)
    plain = _joined(tokens, sql)
    tree = _tree(plain, engine.dialect)
    _check_tree(tree, engine)
    return Checked(plain, _limit(tree))


def _limit(tree: Any) -> int | None:
    limit = tree.args.get("limit")
    value = getattr(limit, "expression", None)
    if value is None or not getattr(value, "is_int", False) or limit.args.get("limit_options"):
        return None
    return int(value.name)


@cache
def _sqlglot() -> ModuleType:
    return require("sqlglot", extra="serve")


# Words ---------------------------------------------------------------------------------------


def _tokens(sql: str, dialect: str) -> list[Any]:
    if len(sql) > SQL_CHARS_MAX:
        raise BadStatement(
            f"the statement has {len(sql)} characters; the limit is {SQL_CHARS_MAX}."
        )
    if _CONTROL.search(sql):
        raise BadStatement("the statement has control characters in it. Leave them out.")
    try:
        sql.encode()
        tokens: list[Any] = _sqlglot().tokenize(sql, read=dialect)
    except (_sqlglot().errors.SqlglotError, ValueError, RecursionError) as error:
        raise BadStatement(f"the statement cannot be read: {_first_line(error)}") from None
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    if not tokens:
        raise BadStatement("there is no statement. Pass one: ?sql=SELECT …")
    if len(tokens) > _WORDS_MAX:
        raise BadStatement(f"the statement has {len(tokens)} words; the limit is {_WORDS_MAX}.")
    return tokens


def _check_comments(tokens: Sequence[Any], sql: str) -> None:
    """What MySQL and MariaDB run is no comment, although it would not reach them."""
    starts = [*(token.start for token in tokens), len(sql)]
    ends = [0, *(token.end + 1 for token in tokens)]
    if any(_RUN.search(sql[end:start]) for end, start in zip(ends, starts, strict=True)):
        raise Forbidden("a comment that the database would run is not allowed: /*! … */.")


def _check_words(tokens: Sequence[Any], sql: str, dialect: str) -> None:
    depth = 0
    for at, token in enumerate(tokens):
        kind, text = token.token_type.name, sql[token.start : token.end + 1]
        if kind == "SEMICOLON":
            raise Forbidden("only one statement is run at a time. Send the others by themselves.")
        if kind in _KINDS_DENIED:
            raise Forbidden(f"{shown(text)} is not allowed in a statement. Write out its value.")
        depth += (text in {"(", "[", "{"}) - (text in {")", "]", "}"})
        if depth > _DEPTH_MAX:
            raise BadStatement(f"parentheses are nested more than {_DEPTH_MAX} deep.")
        if kind in _QUOTED:
            _check_call(tokens, at, token.text, dialect)
            continue
        word = text.lower()
        if text[0].isalnum() or text[0] == "_" or not text.isascii():
            if kind != "NUMBER" and not all(map(_WORD.fullmatch, text.split())):
                raise BadStatement(f"{shown(text)} is no word. Put names in quotes.")
            denied = _DENIED - _DENIED_UNLESS_CALLED if _is_called(tokens, at) else _DENIED
            if not denied.isdisjoint(word.split()):
                raise Forbidden(f"{shown(text)} is not allowed: statements can only read.")
            _check_call(tokens, at, text, dialect)


def _is_called(tokens: Sequence[Any], at: int) -> bool:
    return at + 1 < len(tokens) and tokens[at + 1].token_type.name == "L_PAREN"


def _check_call(tokens: Sequence[Any], at: int, name: str, dialect: str) -> None:
    kind = tokens[at].token_type.name
    if not _is_called(tokens, at) or kind in {"STRING", "NUMBER"}:
        return
    before = tokens[at - 1].token_type.name if at else ""
    if before == "DOT":
        raise Forbidden(
            f"{shown(name)} is called as a part of something. Call functions by their name alone."
        )
    word = name.lower()
    if kind != "IDENTIFIER" and word.split()[-1] in NOT_FUNCTIONS:
        return
    if word in FUNCTIONS[dialect] or before in {"ALIAS", "DCOLON"} or _names_columns(tokens, at):
        return
    raise Forbidden(
        f"{shown(name)} is not among the functions that statements may call: those that make "
        "values of values, and read nothing else."
    )


def _names_columns(tokens: Sequence[Any], at: int) -> bool:
    """Whether this is `name (a, b) AS (SELECT`, in WITH."""
    kinds = [token.token_type.name for token in tokens[at + 1 : at + 1 + _WORDS_MAX]]
    end = kinds.index("R_PAREN") if "R_PAREN" in kinds else 0
    inner, after = kinds[1:end], kinds[end + 1 : end + 3]
    names = all(kind in {"VAR", "IDENTIFIER", "COMMA"} for kind in inner)
    follows = kinds[end + 3 : end + 4]
    before = tokens[at - 1].token_type.name if at else ""
    return (
        bool(inner)
        and names
        and before in {"WITH", "RECURSIVE", "COMMA"}
        and after == ["ALIAS", "L_PAREN"]
        and follows in (["SELECT"], ["VALUES"], ["WITH"], ["L_PAREN"])
    )


def _joined(tokens: Sequence[Any], sql: str) -> str:
    """The words as they were written, with one space where there was anything between two."""
    parts: list[str] = []
    end = 0
    for token in tokens:
        if parts and token.start > end:
            parts.append(" ")
        parts.append(sql[token.start : token.end + 1])
        end = token.end + 1
    return "".join(parts)


# Tree ----------------------------------------------------------------------------------------


def _tree(sql: str, dialect: str) -> Any:
    sqlglot = _sqlglot()
    try:
        trees = sqlglot.parse(sql, read=dialect)
    except (sqlglot.errors.SqlglotError, ValueError, RecursionError) as error:
        raise BadStatement(f"the statement cannot be read: {_first_line(error)}") from None
    if len(trees) != 1 or trees[0] is None:
        raise Forbidden("only one statement is run at a time.")
    return trees[0]


def _first_line(error: BaseException) -> str:
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("\n")[0]
    return text or "it is nested too deeply."


def _check_tree(tree: Any, engine: Engine) -> None:
    exp = _sqlglot().exp
    if not isinstance(tree, (exp.Query, exp.Values)):
        raise Forbidden(f"only queries are run: SELECT, WITH or VALUES; got {_kind_of(tree)}.")
    served = {name for table in engine.tables() for name in engine.names(table)}
    try:
        nodes: Iterator[Any] = tree.walk()
        for node in nodes:
            _check_node(node, exp, engine, served)
    except RecursionError:
        raise BadStatement("the statement is nested too deeply.") from None


def _check_node(node: Any, exp: Any, engine: Engine, served: set[tuple[str, ...]]) -> None:
    if isinstance(node, _never(exp)):
        raise Forbidden(f"{_kind_of(node)} is not allowed: statements can only read.")
    if isinstance(node, exp.Select) and not node.expressions:
        raise BadStatement("a SELECT selects nothing. Name the columns, or write *.")
    named = isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc))
    if named and str(node.name).lower() not in FUNCTIONS[engine.dialect]:
        raise Forbidden(f"the function {shown(node.name)} is not allowed in statements.")
    if isinstance(node, exp.In) and node.args.get("field") is not None and _sqlite(engine):
        raise Forbidden("IN takes values in parentheses, or a SELECT.")
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Func):
        _check_table(node, exp, engine, served)


def _sqlite(engine: Engine) -> bool:
    """Where `IN name` reads a table."""
    return engine.dialect == "sqlite"


@cache
def _never(exp: Any) -> tuple[type, ...]:
    names = words("""
    Alter Analyze Attach Cache Command Comment Commit Copy Create DDL DML Delete Describe Detach
    Drop Export FileFormatProperty Grant Insert Into Kill LoadData Lock Merge Parameter Placeholder
    Pragma ReadCSV ReadParquet Refresh Rollback SessionParameter Set Show Transaction
    TruncateTable Update Use CurrentUser SessionUser CurrentRole CurrentCatalog CurrentSchema
    UnloadProperty Revoke Directory DirectoryStage
    """)
    found = [getattr(exp, name, None) for name in names]
    return tuple(
        each
        for each in found
        if isinstance(each, type) and not issubclass(exp.Select, each) and each is not exp.Query
    )


def _kind_of(node: Any) -> str:
    return type(node).__name__.upper()


def _check_table(node: Any, exp: Any, engine: Engine, served: set[tuple[str, ...]]) -> None:
    parts = node.parts
    if not all(isinstance(part, exp.Identifier) for part in parts):
        raise Forbidden(f"{shown(node.sql())} in FROM is no table that is served.")
    name = tuple(engine.fold(part.name, quoted=bool(part.args.get("quoted"))) for part in parts)
    if name in served or (len(name) == 1 and name[0] in _common_tables(node, exp, engine)):
        return
    raise Forbidden(
        f"{shown('.'.join(part.name for part in parts))} is no table of {engine.name}. "
        "/-/sources.json lists them."
    )


def _common_tables(node: Any, exp: Any, engine: Engine) -> Iterator[str]:
    """The names that a WITH around this table has given before it.

    (Others could be those of tables that are not served: which of two a name means is the
    database's to say.)
    """
    inner, outer = node, node.parent
    while outer is not None:
        if isinstance(outer, exp.With):
            for each in outer.expressions:
                if each is inner:
                    if outer.recursive:
                        yield _alias(each, engine)
                    break
                yield _alias(each, engine)
        else:
            with_ = outer.args.get("with_") or outer.args.get("with")
            if with_ is not None and with_ is not inner:
                yield from (_alias(each, engine) for each in with_.expressions)
        inner, outer = outer, outer.parent


def _alias(table: Any, engine: Engine) -> str:
    name = table.args["alias"].this
    return engine.fold(name.name, quoted=bool(name.args.get("quoted")))
