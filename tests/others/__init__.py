"""What none of us wrote: other people's apps, and Django's own tests. Both behave here as they do with Django."""
