"""Who is acting and how the code was entered, as Django knows it."""
