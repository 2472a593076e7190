"""Commands get in: each producer turns a request into a signed command and submits it."""
