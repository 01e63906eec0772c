"""Changes of the project's models, with the migrations that makemigrations must write for each."""

from typing import NamedTuple

from tests.projects import NEWEST


class Change(NamedTuple):
    """A change of the models, and the resulting files with texts that each must contain."""

    edits: list[tuple[str, str, str]]
    files: dict[str, list[str]]
    is_reversible: bool = True
    is_of_the_database: bool = True


MEMBER = "council/models.py"
VISIBLE = """    leaderboard_visible = models.BooleanField(
        "listed on leaderboards", db_column="leaderboardVisible", db_default=True
    )
"""
MEMBER_INDEX = """            Index(name="Member_totalPoints_idx", fields=["-total_points"]),
"""
MEMBER_KEY = """            UniqueIndex(name="Member_email_key", fields=["email"]),
"""


def with_member_field(field: str) -> tuple[str, str, str]:
    return MEMBER, VISIBLE, f"{VISIBLE}    {field}\n"


CHANGES = {
    "nullable column": Change(
        [with_member_field('nickname = models.TextField(db_column="nickName", null=True, blank=True)')],
        {
            "council/+1_member_nickname": [
                "Adds columns: Member.nickName.",
                "Locks: ACCESS EXCLUSIVE on Member, for an instant: no rewrite; reading and writing wait.",
                f'dependencies = [("council", "{NEWEST["council"]}")]',
                "migrations.AddField(",
            ]
        },
    ),
    "columns with defaults of the database": Change(
        [
            with_member_field("visits = models.IntegerField(db_default=0)"),
            with_member_field("seen_at = TimestampField(db_default=CurrentTimestamp())"),
        ],
        {"council/+1_member_columns": ["Adds columns: Member.seen_at and Member.visits."]},
    ),
    "foreign key on a table that is there": Change(
        [
            with_member_field(
                'referrer = models.ForeignKey("self", on_delete=models.DO_NOTHING, db_constraint=False, '
                'db_index=False, db_column="referrerId", null=True, related_name="+")'
            ),
            (
                MEMBER,
                MEMBER_KEY,
                f'{MEMBER_KEY}            ForeignKeyConstraint(name="Member_referrerId_fkey", field="referrer", '
                "on_delete=Action.SET_NULL, on_update=Action.CASCADE),\n",
            ),
        ],
        {
            "council/+1_member_referrer": ["migrations.AddField("],
            "council/+2_member_fks_not_valid": [
                "zero_downtime.AddForeignKeyNotValid(",
                "Locks: SHARE ROW EXCLUSIVE on Member, for an instant; writing waits.",
            ],
            "council/+3_validate_member_fks": [
                "zero_downtime.ValidateConstraint(",
                'name="Member_referrerId_fkey"',
            ],
        },
    ),
    "index": Change(
        [
            (
                MEMBER,
                MEMBER_INDEX,
                f'{MEMBER_INDEX}            Index(name="Member_company_idx", fields=["company"]),\n',
            )
        ],
        {"council/+1_member_indexes": ["    atomic = False\n", "zero_downtime.AddIndexConcurrently("]},
    ),
    "unique index": Change(
        [
            (
                MEMBER,
                MEMBER_KEY,
                f'{MEMBER_KEY}            UniqueIndex(name="Member_linkedInUrl_key", fields=["linkedin_url"]),\n',
            )
        ],
        {
            "council/+1_member_indexes": [
                "    atomic = False\n",
                "zero_downtime.AddUniqueIndexConcurrently(",
                "unless it writes rows that a unique index refuses",
            ]
        },
    ),
    "indexes that go, one for another": Change(
        [
            (
                MEMBER,
                MEMBER_INDEX,
                '            Index(name="Member_totalPoints_id_idx", fields=["-total_points", "id"]),\n',
            ),
            (MEMBER, 'UniqueIndex(name="FeatureFlag_key_key", fields=["key"])', ""),
        ],
        {
            "council/+1_member_indexes": ["zero_downtime.AddIndexConcurrently("],
            "council/+2_drop_feature_flag_member_indexes": [
                "    atomic = False\n",
                "zero_downtime.RemoveUniqueIndexConcurrently(",
                "zero_downtime.RemoveIndexConcurrently(",
            ],
        },
    ),
    "check": Change(
        [
            (
                MEMBER,
                MEMBER_KEY,
                f'{MEMBER_KEY}            models.CheckConstraint(name="Member_currentStreak_check", '
                "condition=models.Q(current_streak__gte=0)),\n",
            )
        ],
        {
            "council/+1_member_checks_not_valid": ["zero_downtime.AddCheckNotValid("],
            "council/+2_validate_member_checks": ["zero_downtime.ValidateConstraint("],
        },
    ),
    "another check of the same name": Change(
        [
            (
                "gamification/models.py",
                "condition=models.Q(points__gte=0),",
                "condition=models.Q(points__gte=0, points__lte=1000),",
            )
        ],
        {
            "gamification/+1_point_rule_checks_not_valid": [
                "migrations.RemoveConstraint(",
                "zero_downtime.AddCheckNotValid(",
            ],
            "gamification/+2_validate_point_rule_checks": ["zero_downtime.ValidateConstraint("],
        },
    ),
    "constraints that go, and another name of an index": Change(
        [
            (
                MEMBER,
                'Index(name="Member_teamId_idx", fields=["team"])',
                'Index(name="Member_team", fields=["team"])',
            ),
            (
                MEMBER,
                """            ForeignKeyConstraint(
                name="Member_teamId_fkey", field="team", on_delete=Action.SET_NULL, on_update=Action.CASCADE
            ),
""",
                "",
            ),
        ],
        {
            "council/+1_drop_member_constraints": [
                "Removes constraints: Member_teamId_fkey.",
                "Locks: ACCESS EXCLUSIVE on Member and Team, for an instant; reading and writing wait.",
                "migrations.RemoveConstraint(",
            ],
            "council/+2_alter_member": ["migrations.RenameIndex("],
        },
    ),
    "other actions of a key": Change(
        [
            (
                MEMBER,
                'name="Member_teamId_fkey", field="team", on_delete=Action.SET_NULL,',
                'name="Member_teamId_fkey", field="team", on_delete=Action.RESTRICT,',
            )
        ],
        {
            "council/+1_member_fks_not_valid": [
                "Locks: ACCESS EXCLUSIVE on Member and Team, for an instant; reading and writing wait.",
                "migrations.RemoveConstraint(",
                "zero_downtime.AddForeignKeyNotValid(",
            ],
            "council/+2_validate_member_fks": ["zero_downtime.ValidateConstraint("],
        },
    ),
    "not null": Change(
        [
            (
                MEMBER,
                'accepted_by = models.TextField(db_column="acceptedBy", null=True, blank=True)',
                'accepted_by = models.TextField(db_column="acceptedBy", db_default="nobody")',
            )
        ],
        {
            "council/+1_alter_pending_invite_accepted_by": [
                "migrations.AlterField(",
                'db_default="nobody", null=True',
            ],
            "council/+2_pending_invite_accepted_by_checks_not_valid": [
                "zero_downtime.AddFilledCheck(",
                'name="accepted_by"',
            ],
            "council/+3_validate_pending_invite_checks": ['name="PendingInvite_acceptedBy_filled_check"'],
            "council/+4_pending_invite_accepted_by_not_null": ["zero_downtime.SetNotNull("],
        },
    ),
    "wider, and nullable": Change(
        [
            (
                "gamification/models.py",
                "label = models.CharField(max_length=80)",
                "label = models.CharField(max_length=120, null=True)",
            )
        ],
        {"gamification/+1_alter_point_rule_label": ["migrations.AlterField("]},
    ),
    "enum": Change(
        [
            (
                MEMBER,
                "class Team(models.Model):",
                'class Language(models.TextChoices):\n    EN = "EN"\n    DE = "DE"\n\n\nclass Team(models.Model):',
            ),
            with_member_field(
                'language = EnumField(enum="Language", choices=Language, db_default=Language.EN.value)'
            ),
        ],
        {
            "council/+1_member_language": [
                'zero_downtime.CreateEnum(\n            name="Language",\n            labels=["EN", "DE"],',
                "migrations.AddField(",
            ]
        },
    ),
    "label of an enum": Change(
        [
            (
                "resources/models.py",
                '    PLAYBOOK = "PLAYBOOK"\n',
                '    CHECKLIST = "CHECKLIST"\n    PLAYBOOK = "PLAYBOOK"\n',
            )
        ],
        {
            "resources/+1_resourcetype_checklist": [
                "    atomic = False\n",
                'name="ResourceType"',
                'label="CHECKLIST"',
                'after="SOP"',
            ]
        },
        is_reversible=False,  # PostgreSQL cannot remove a label
    ),
    "another body of a trigger": Change(
        [
            (
                "gamification/triggers.py",
                "RAISE EXCEPTION 'The points ledger is append-only: TRUNCATE refused.'",
                "RAISE EXCEPTION 'The points ledger is append-only: no TRUNCATE.'",
            )
        ],
        {
            "gamification/+1_point_transaction_triggers": [
                "zero_downtime.ReplaceTrigger(",
                'POINT_TRANSACTION_NO_TRUNCATE = """\\\nBEGIN\n',
                "Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.",
            ]
        },
    ),
    "another event of a trigger": Change(
        [
            (
                "gamification/triggers.py",
                "operation=pgtrigger.Update | pgtrigger.Delete,",
                "operation=pgtrigger.Delete,",
            )
        ],
        {
            "gamification/+1_point_transaction_triggers": [
                "pgtrigger.migrations.RemoveTrigger(",
                "zero_downtime.AddTrigger(",
                "Locks: ACCESS EXCLUSIVE on PointTransaction, for an instant; reading and writing wait.",
            ]
        },
    ),
    "another body of a function, and one more": Change(
        [
            (
                "gamification/functions.py",
                "WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1",
                "WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 + 0",
            ),
            (
                "gamification/functions.py",
                "ALL = [NEXT_WEEKDAY,",
                'ALL = [Function("two", "", "RETURNS bigint LANGUAGE sql\\nRETURN 2"), NEXT_WEEKDAY,',
            ),
        ],
        {
            "gamification/+1_functions": [
                "zero_downtime.CreateFunction(",
                "zero_downtime.ReplaceFunction(",
                'NEXT_WEEKDAY_FORMER = """',
            ]
        },
    ),
    "model": Change(
        [
            (
                "resources/models.py",
                "class ResourceDownload(models.Model):",
                """class Colour(models.TextChoices):
    RED = "RED"


class Bookmark(models.Model):
    member = models.ForeignKey(
        Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    resource = models.ForeignKey(
        Resource, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    colour = EnumField(enum="Colour", choices=Colour)

    class Meta:
        db_table = "Bookmark"
        constraints = [
            UniqueIndex(name="Bookmark_member_resource_key", fields=["member", "resource"]),
            ForeignKeyConstraint(
                name="Bookmark_member_fkey", field="member", on_delete=Action.CASCADE, on_update=Action.CASCADE
            ),
            ForeignKeyConstraint(
                name="Bookmark_resource_fkey", field="resource", on_delete=Action.CASCADE, on_update=Action.CASCADE
            ),
        ]
        indexes = [Index(name="Bookmark_resource_idx", fields=["resource"])]


class ResourceDownload(models.Model):""",
            ),
        ],
        {
            "resources/+1_bookmark": [
                "zero_downtime.CreateEnum(",
                "migrations.CreateModel(",
                "indexes.UniqueIndex(",
                "zero_downtime.EnableRowLevelSecurity(",
            ],
            "resources/+2_bookmark_fks_not_valid": [
                "Locks: SHARE ROW EXCLUSIVE on Bookmark and Member, for an instant; writing waits."
            ],
            "resources/+3_bookmark_fks_not_valid": [
                "Locks: SHARE ROW EXCLUSIVE on Bookmark and Resource, for an instant; writing waits."
            ],
            "resources/+4_validate_bookmark_fks": ["zero_downtime.ValidateConstraint("],
            "resources/+5_bookmark_indexes": ["    atomic = False\n"],
        },
    ),
    "what the database does not know of": Change(
        [
            (
                MEMBER,
                "company = models.TextField(null=True, blank=True)",
                'firm = models.TextField(db_column="company", null=True, blank=True)',
            ),
            (
                "gamification/models.py",
                'violation_error_message="A rule gives 0 points or more."',
                'violation_error_message="Points are 0 or more."',
            ),
        ],
        {
            "council/+1_member_company_state": ["migrations.RenameField(", "Locks: none."],
            "gamification/+1_point_rule_state": ["migrations.AlterConstraint("],
        },
        is_of_the_database=False,
    ),
}
