"""Commands: what each `inkwash X` does with words, files and folders."""
