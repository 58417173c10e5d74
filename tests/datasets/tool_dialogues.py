"""Conversations with tools, as a model would write them."""

import random

from tests.worlds import SHIPPED
from tui_router.datasets.synthetic.requests import RequestFilter
from tui_router.datasets.synthetic.tool_dialogues import DialogueTask, read_tools
from tui_router.routing.learned.learned_router import LearnedRouter

FLEET = SHIPPED.fleet
LEARNED = LearnedRouter.as_shipped(FLEET)
TOOLS = {tool["function"]["name"]: tool for tool in read_tools()}


def task(known=()):
    return DialogueTask(
        FLEET, read_tools(), known, RequestFilter((), LEARNED.projection, [LEARNED], "generated:m:1"), "generated:m:1"
    )


def batch(scenario, *names):
    one = next(task().batches(random.Random(0)))
    return one._replace(scenario=scenario, tools=tuple(TOOLS[name] for name in names))


def call(tool, result="done", ok=True, **arguments):
    return {"tool": tool, "arguments": arguments, "result": result, "ok": ok}


def said(request, *calls, answer="It is done."):
    return {"request": request, "calls": list(calls), "answer": answer}


MAIL = batch("immediate", "mail_send", "weather")
SEND = call("mail_send", to=["mia"], subject="late", body="I come at nine")


def some():
    one = task()
    asked = batch("recovery", "weather", "web_search")
    failed = call("weather", result="no such place", ok=False, place="Grz")
    first = one.accept(said("send mia a mail that I come at nine", SEND), MAIL)
    return [first, one.accept(said("what will the weather in Graz be", failed, call("weather", place="Graz")), asked)]
