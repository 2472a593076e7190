"""Watches over the house: raises what people must know at Alertmanager, and shows the state of it all to Prometheus."""
