"""One module per Istio feature: from the model's words to Envoy's fields. Their order stands in `render/order.py`."""
