"""What `legation run` starts on this machine: real Envoys, and stand-ins for the services behind them."""
