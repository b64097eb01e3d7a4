"""The ClearML API: one module per service; each function below an `@endpoint` answers one call.

registry.py   the table of endpoints
call.py       what an endpoint is given: parameters, caller, services
dispatch.py   from an HTTP request to an endpoint and back into the envelope
tasks/ models.py projects.py events/ queues.py workers.py …   the services
"""
