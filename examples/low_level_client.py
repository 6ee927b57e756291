"""The client, for agents that are not one block of Python: start a run here, end it elsewhere.

python examples/low_level_client.py
"""

from waxlocal import WaxellObserveClient, generate_session_id


def take_order(client: WaxellObserveClient, session_id: str) -> str:
    """Begin; only the run's id goes on, through a queue or to another process."""
    run = client.start_run_sync(
        agent_name="order-desk",
        session_id=session_id,
        user_id="ada",
        inputs={"message": "Two loaves of rye, please."},
    )
    return run.run_id


def work_on(client: WaxellObserveClient, run_id: str) -> None:
    """Record what happened; every list is committed when its call returns."""
    client.record_llm_calls_sync(
        run_id=run_id,
        calls=[{"model": "gpt-4o-mini", "tokens_in": 80, "tokens_out": 20, "task": "understand"}],
    )
    client.record_steps_sync(
        run_id=run_id,
        steps=[{"step_name": "check stock", "output": {"rye": 5}}],
    )
    client.record_scores_sync(
        run_id=run_id,
        scores=[{"name": "understood", "data_type": "numeric", "numeric_value": 0.95}],
    )


def finish(client: WaxellObserveClient, run_id: str) -> None:
    """End it; the answer says how long the run took."""
    done = client.complete_run_sync(run_id=run_id, result={"response": "Two loaves, ready at 9."})
    print(f"run {done.run_id} took {done.duration or 0:.3f} s")


if __name__ == "__main__":
    client = WaxellObserveClient()
    run_id = take_order(client, generate_session_id())
    work_on(client, run_id)
    finish(client, run_id)
