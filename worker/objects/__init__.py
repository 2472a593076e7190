"""One module per kind of object: how it is kept, how it is removed, how it comes back."""
