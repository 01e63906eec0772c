"""Code that is not ours: other people's apps, and Django's own tests. Both must behave as with Django's backend."""
