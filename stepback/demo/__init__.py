"""The demo: the whole story on embedded servers, and the proof that every word of it is true."""

from stepback.demo.alert import tell_of_alert
from stepback.demo.story import tell_story

__all__ = ["tell_of_alert", "tell_story"]
