-- What a database says of accounts that was migrated while `Account` belonged to the app `council`. The tables are the same.
DELETE FROM django_migrations WHERE app = 'accounts' OR app = 'council' AND name IN (
    '0002_account', '0003_account_fks_not_valid', '0004_validate_account_fks', '0009_member_accounts_are_no_staff');
INSERT INTO django_migrations (app, name, applied)
SELECT 'council', before.name, now()
  FROM (VALUES (1, '0002_account'), (2, '0003_account_fks_not_valid'), (3, '0004_validate_account_fks'),
               (4, '0009_member_accounts_are_no_staff')) AS before (number, name)
 WHERE number <= :applied;
UPDATE django_content_type SET app_label = 'council' WHERE app_label = 'accounts' AND model = 'account';
