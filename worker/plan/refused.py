"""What no plan may say, by the parser's node and by kind of object: each with its reason, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pglast import ast
from pglast.enums import ObjectType

from ledger.errors import PlanRefused
from worker.plan.rules import Refusal

_BY_HAND: Final = "do it by hand, beside the plan"

_ACCESS_METHOD = Refusal("ACCESS METHOD", f"it is the superuser's, and part of the server; {_BY_HAND}")
_CAST = Refusal("CAST", f"what uses a cast is not in the catalog, so nobody could tell what it breaks; {_BY_HAND}")
_COLLATION = Refusal("COLLATION", f"indexes are ordered by it, and a version of it cannot be brought back; {_BY_HAND}")
_CONVERSION = Refusal("CONVERSION", f"it is about bytes on the wire, not about the schema; {_BY_HAND}")
_DATABASE = Refusal("DATABASE", f"it is about more than this database's schema, and cannot be undone in it; {_BY_HAND}")
_DEFAULT_PRIVILEGES = Refusal(
    "DEFAULT PRIVILEGES", f"they are about objects that are not there yet, so there is nothing to keep; {_BY_HAND}"
)
_EVENT_TRIGGER = Refusal(
    "EVENT TRIGGER", f"it is the superuser's, and would run inside Stepback's own work; {_BY_HAND}"
)
_EXTENSION = Refusal(
    "EXTENSION",
    f"what it brings and drops is its script's business, and its data cannot be told from its code; {_BY_HAND}",
)
_FOREIGN_DATA = Refusal(
    "FOREIGN DATA", f"its rows are on another server, where no transaction of ours can keep them; {_BY_HAND}"
)
_LANGUAGE = Refusal("LANGUAGE", f"it is the superuser's, and functions hang on it; {_BY_HAND}")
_LARGE_OBJECT = Refusal(
    "LARGE OBJECT", "large objects belong to no table, and no trigger hands them over; use a column"
)
_OPERATOR = Refusal(
    "OPERATOR, OPERATOR CLASS, OPERATOR FAMILY",
    f"indexes and plans hang on them in ways that their definition does not tell; {_BY_HAND}",
)
_PARAMETER = Refusal("PARAMETER", f"it is about the whole server; {_BY_HAND}")
_PUBLICATION = Refusal(
    "PUBLICATION",
    f"what subscribers miss meanwhile cannot be sent again; {_BY_HAND} (a table that moves leaves its publications, and"
    " comes back to them)",
)
_ROLE = Refusal("ROLE", f"roles belong to the whole server, not to this database; {_BY_HAND}")
_SECURITY_LABEL = Refusal("SECURITY LABEL", f"labels belong to a provider, who alone can set them again; {_BY_HAND}")
_SUBSCRIPTION = Refusal("SUBSCRIPTION", f"its slot is on another server, and dropping it loses changes; {_BY_HAND}")
_TABLESPACE = Refusal("TABLESPACE", f"it is about the server's disks; {_BY_HAND}")
_TEXT_SEARCH = Refusal("TEXT SEARCH", f"what uses a configuration is not in the catalog, only its name; {_BY_HAND}")
_TRANSFORM = Refusal("TRANSFORM", f"it is the superuser's, and functions hang on it; {_BY_HAND}")

_SERVER = "it is about the whole server, and no transaction takes it back"
_FOR_LATER = "it says what a later statement does, so that nobody could see it; write the statement itself"
_SESSION = "it is about the session, which is Stepback's own here; leave it out"

#: By the kind of object, for whatever names one: DROP, RENAME, OWNER TO, SET SCHEMA, COMMENT, GRANT, ALTER.
KINDS: Final[Mapping[ObjectType, Refusal]] = {
    ObjectType.OBJECT_ACCESS_METHOD: _ACCESS_METHOD,
    ObjectType.OBJECT_AMOP: _OPERATOR,
    ObjectType.OBJECT_AMPROC: _OPERATOR,
    ObjectType.OBJECT_CAST: _CAST,
    ObjectType.OBJECT_COLLATION: _COLLATION,
    ObjectType.OBJECT_CONVERSION: _CONVERSION,
    ObjectType.OBJECT_DATABASE: _DATABASE,
    ObjectType.OBJECT_DEFACL: _DEFAULT_PRIVILEGES,
    ObjectType.OBJECT_EVENT_TRIGGER: _EVENT_TRIGGER,
    ObjectType.OBJECT_EXTENSION: _EXTENSION,
    ObjectType.OBJECT_FDW: _FOREIGN_DATA,
    ObjectType.OBJECT_FOREIGN_SERVER: _FOREIGN_DATA,
    ObjectType.OBJECT_FOREIGN_TABLE: _FOREIGN_DATA,
    ObjectType.OBJECT_LANGUAGE: _LANGUAGE,
    ObjectType.OBJECT_LARGEOBJECT: _LARGE_OBJECT,
    ObjectType.OBJECT_OPCLASS: _OPERATOR,
    ObjectType.OBJECT_OPERATOR: _OPERATOR,
    ObjectType.OBJECT_OPFAMILY: _OPERATOR,
    ObjectType.OBJECT_PARAMETER_ACL: _PARAMETER,
    ObjectType.OBJECT_PUBLICATION: _PUBLICATION,
    ObjectType.OBJECT_PUBLICATION_NAMESPACE: _PUBLICATION,
    ObjectType.OBJECT_PUBLICATION_REL: _PUBLICATION,
    ObjectType.OBJECT_ROLE: _ROLE,
    ObjectType.OBJECT_SUBSCRIPTION: _SUBSCRIPTION,
    ObjectType.OBJECT_TABLESPACE: _TABLESPACE,
    ObjectType.OBJECT_TRANSFORM: _TRANSFORM,
    ObjectType.OBJECT_TSCONFIGURATION: _TEXT_SEARCH,
    ObjectType.OBJECT_TSDICTIONARY: _TEXT_SEARCH,
    ObjectType.OBJECT_TSPARSER: _TEXT_SEARCH,
    ObjectType.OBJECT_TSTEMPLATE: _TEXT_SEARCH,
    ObjectType.OBJECT_USER_MAPPING: _FOREIGN_DATA,
}

#: By the parser's node, for statements that have one of their own.
NODES: Final[Mapping[type, Refusal]] = {
    **dict.fromkeys((ast.CreateExtensionStmt, ast.AlterExtensionStmt, ast.AlterExtensionContentsStmt), _EXTENSION),
    ast.AlterObjectDependsStmt: Refusal("DEPENDS ON EXTENSION", _EXTENSION.reason),
    **dict.fromkeys(
        (ast.CreateOpClassStmt, ast.CreateOpFamilyStmt, ast.AlterOpFamilyStmt, ast.AlterOperatorStmt), _OPERATOR
    ),
    ast.CreateCastStmt: _CAST,
    **dict.fromkeys((ast.AlterCollationStmt, ast.AlterDatabaseRefreshCollStmt), _COLLATION),
    ast.CreateConversionStmt: _CONVERSION,
    **dict.fromkeys(
        (
            ast.CreateFdwStmt,
            ast.AlterFdwStmt,
            ast.CreateForeignServerStmt,
            ast.AlterForeignServerStmt,
            ast.CreateForeignTableStmt,
            ast.ImportForeignSchemaStmt,
            ast.CreateUserMappingStmt,
            ast.AlterUserMappingStmt,
            ast.DropUserMappingStmt,
        ),
        _FOREIGN_DATA,
    ),
    **dict.fromkeys((ast.CreatePublicationStmt, ast.AlterPublicationStmt), _PUBLICATION),
    **dict.fromkeys((ast.CreateSubscriptionStmt, ast.AlterSubscriptionStmt, ast.DropSubscriptionStmt), _SUBSCRIPTION),
    **dict.fromkeys((ast.CreateEventTrigStmt, ast.AlterEventTrigStmt), _EVENT_TRIGGER),
    ast.CreatePLangStmt: _LANGUAGE,
    ast.CreateTransformStmt: _TRANSFORM,
    ast.CreateAmStmt: _ACCESS_METHOD,
    **dict.fromkeys((ast.AlterTSConfigurationStmt, ast.AlterTSDictionaryStmt), _TEXT_SEARCH),
    ast.SecLabelStmt: _SECURITY_LABEL,
    **dict.fromkeys(
        (
            ast.CreateTableSpaceStmt,
            ast.DropTableSpaceStmt,
            ast.AlterTableSpaceOptionsStmt,
            ast.AlterTableMoveAllStmt,
        ),
        _TABLESPACE,
    ),
    **dict.fromkeys((ast.CreatedbStmt, ast.DropdbStmt, ast.AlterDatabaseStmt, ast.AlterDatabaseSetStmt), _DATABASE),
    **dict.fromkeys(
        (ast.CreateRoleStmt, ast.AlterRoleStmt, ast.AlterRoleSetStmt, ast.DropRoleStmt, ast.GrantRoleStmt), _ROLE
    ),
    **dict.fromkeys(
        (ast.DropOwnedStmt, ast.ReassignOwnedStmt),
        Refusal("DROP OWNED, REASSIGN OWNED", "it reaches whatever a role owns, which no plan names; name the objects"),
    ),
    ast.AlterDefaultPrivilegesStmt: _DEFAULT_PRIVILEGES,
    ast.AlterTypeStmt: Refusal("ALTER TYPE … SET (…)", f"the functions of a base type are the superuser's; {_BY_HAND}"),
    ast.AlterSystemStmt: Refusal("ALTER SYSTEM", f"{_SERVER}; {_BY_HAND}"),
    ast.CheckPointStmt: Refusal("CHECKPOINT", f"{_SERVER}; leave it out"),
    ast.LoadStmt: Refusal("LOAD", f"{_SESSION}"),
    ast.TransactionStmt: Refusal(
        "BEGIN, COMMIT, ROLLBACK, SAVEPOINT",
        "transaction control belongs to Stepback: one BEGIN at the start and one COMMIT at the end are taken off, any"
        " other cannot be honoured",
    ),
    ast.ConstraintsSetStmt: Refusal(
        "SET CONSTRAINTS", "constraints that wait until COMMIT would be checked after the proof; leave it out"
    ),
    ast.VariableSetStmt: Refusal(
        "SET, RESET of anything else",
        "it would change who runs later statements or how they are understood; leave it out, and qualify the names",
    ),
    ast.VariableShowStmt: Refusal("SHOW", "nobody reads what it shows; leave it out"),
    ast.DiscardStmt: Refusal("DISCARD", _SESSION),
    ast.CopyStmt: Refusal(
        "COPY",
        "it moves data between the database and files, past every check; write INSERT … SELECT, or do it by hand",
    ),
    **dict.fromkeys(
        (ast.PrepareStmt, ast.ExecuteStmt, ast.DeallocateStmt), Refusal("PREPARE, EXECUTE, DEALLOCATE", _FOR_LATER)
    ),
    **dict.fromkeys(
        (ast.DeclareCursorStmt, ast.FetchStmt, ast.ClosePortalStmt),
        Refusal("DECLARE, FETCH, MOVE, CLOSE", _FOR_LATER),
    ),
    ast.ExplainStmt: Refusal(
        "EXPLAIN", "nobody reads what it says, and with ANALYZE it runs what it explains; leave it out"
    ),
    **dict.fromkeys(
        (ast.ListenStmt, ast.UnlistenStmt, ast.NotifyStmt),
        Refusal("LISTEN, UNLISTEN, NOTIFY", "a notification cannot be taken back; send it when the run has completed"),
    ),
    ast.ClusterStmt: Refusal(
        "CLUSTER", "it writes the whole table anew under the lock, and changes nothing that a rollback needs; by hand"
    ),
}

#: Nodes that the parser only gives as a part of others, never as a statement of a script.
PARTS: Final = frozenset({ast.RawStmt, ast.PLAssignStmt, ast.ReturnStmt, ast.SetOperationStmt, ast.ReplicaIdentityStmt})


def of_kind(kind: ObjectType, line: int, told: str) -> PlanRefused:
    """Return the refusal of something about an object of a kind that no plan may touch."""
    refusal = KINDS.get(kind)
    if refusal is None:
        return Refusal(told, "this kind of object has no such thing").at(line)
    return refusal.at(line, f"{told} … {refusal.statement}")
