"""No way leads from a member to the answers: nothing may be searched through it.

Locks: none.
Safe with the code before it: yes, nothing changes in the database.
Way back: nothing to undo.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0004_indexes"), ("council", "0010_sign_in_failures")]
    operations = [
        migrations.AlterField(
            model_name="benchmarksubmission",
            name="member",
            field=models.ForeignKey(
                db_column="memberId",
                db_constraint=False,
                db_index=False,
                on_delete=models.DO_NOTHING,
                related_name="+",
                to="council.member",
            ),
        ),
    ]
