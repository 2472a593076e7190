"""The HTTP gateway: signed commands come in, and whoever may reads what becomes of them."""
