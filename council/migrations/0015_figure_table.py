"""New tables: FigureTable.

Locks: none, the tables are new.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields


class Migration(migrations.Migration):
    dependencies = [("council", "0014_like_indexes")]
    operations = [
        migrations.CreateModel(
            name="FigureTable",
            fields=[
                ("figure", models.TextField(primary_key=True, serialize=False)),
                ("computed_at", fields.TimestampField(db_column="computedAt")),
                ("table", models.JSONField()),
            ],
            options={
                "verbose_name": "figure",
                "db_table": "FigureTable",
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="figuretable",
        ),
    ]
