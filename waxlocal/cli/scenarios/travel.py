"""The travel planner: flights, hotels and plans for a day, with sub-agents in sub-agents."""

from __future__ import annotations

from waxlocal.cli.scenarios.pieces import Agent, Exchange, Lookup, SubAgent, Tool, Topic

__all__ = ["HOTELS", "TRAVEL_PLANNER"]

# The sub-agent that fails now and then.
HOTELS = "hotel-finder"

_FLIGHTS = SubAgent(
    "flight-finder",
    {"from": "{home}", "to": "{city}", "month": "{month}", "people": 2},
    "Direct on {day} at 09:40, 186 euros each way; the evening flight is 40 euros cheaper.",
    (
        Tool("search_flights", {"from": "{home}", "to": "{city}"}, {"found": 14}, 2.4),
        SubAgent(
            "fare-checker",
            {"route": "{home} to {city}", "fare": 186},
            "The fare is 12 percent below the usual one for {month}.",
            (Tool("fare_history", {"route": "{home} to {city}"}, {"median": 211}, 1.1),),
        ),
    ),
)
_HOTEL = SubAgent(
    HOTELS,
    {"city": "{city}", "nights": 3, "wishes": "quiet, near the old town"},
    "Three quiet ones: Casa Nova (120 a night), The Mill (98), Pension Sol (74).",
    (
        Tool("search_hotels", {"city": "{city}", "nights": 3}, {"found": 31}, 3.2),
        Lookup("quiet hotels in {city}", ("Casa Nova", "The Mill", "Pension Sol"), "reviews"),
    ),
)

_WEEKEND = Topic(
    (
        Exchange(
            "We want to spend a long weekend in {city} in {month}, leaving from {home}. Ideas?",
            "Here is a first plan:\n\n"
            "1. **{day}**: morning flight from {home}, lunch in the old town\n"
            "2. Next day: the museum quarter, and dinner by the water\n"
            "3. Last day: a walk up to the castle, then the evening flight home\n\n"
            "Flights are about 186 euros each way, and a quiet hotel 98 a night.",
            (_FLIGHTS, _HOTEL),
        ),
        Exchange(
            "Is there something cheaper to stay?",
            "Yes: *Pension Sol*, 74 euros a night with breakfast, ten minutes on foot from the "
            "old town. It has no lift.",
            (_HOTEL,),
        ),
        Exchange(
            "What will the weather be like?",
            "In {month} it is usually 17 to 22 degrees in {city}, with a shower on one day of "
            "four. Take a light jacket.",
            (Tool("climate", {"city": "{city}", "month": "{month}"}, {"rainy_days": 7}, 0.8),),
        ),
        Exchange(
            "Great. Please put it all into a table that I can send to {name}.",
            "| what | when | price |\n|---|---|---|\n"
            "| flight {home} – {city} | {day}, 09:40 | 186 € |\n"
            "| Pension Sol, 3 nights | {day} | 222 € |\n"
            "| flight back | Sunday, 20:15 | 146 € |\n\n"
            "Prices are for one person, and were checked just now.",
        ),
    ),
    tags={"trip": "weekend"},
)

_TRAIN = Topic(
    (
        Exchange(
            "Can I get from {home} to {city} by train without changing more than twice?",
            "Yes, with two changes: leave at 07:52, arrive at 19:30. The night train needs only "
            "one change, but it runs on {day} alone.",
            (Tool("search_trains", {"from": "{home}", "to": "{city}"}, {"changes": 2}, 1.9),),
        ),
        Exchange(
            "And with a bicycle?",
            "On the day train you can take it for 10 euros if you reserve a place. The night "
            "train takes folded ones only.",
            (Lookup("bicycles on trains", ("Bicycle rules", "Night train: luggage"), "operators"),),
        ),
    ),
    tags={"trip": "train"},
)

_JA = Topic(
    (
        Exchange(
            "来月、家族4人で京都に行きます。子供が楽しめる場所はありますか?",
            "はい、京都鉄道博物館と嵐山モンキーパークがおすすめです。どちらも半日で回れます。",
            (Lookup("京都 子供", ("京都鉄道博物館", "嵐山モンキーパーク"), "reviews"),),
        ),
        Exchange(
            "雨の日はどうすればいいですか?",
            "雨の日は水族館か、錦市場での食べ歩きがよいでしょう。どちらも屋根があります。",
        ),
    ),
    language="ja",
    tags={"trip": "family", "language": "ja"},
)

_AR = Topic(
    (
        Exchange(
            "مرحبا، أبحث عن رحلة هادئة إلى البحر في عطلة نهاية الأسبوع.",
            "أهلا بك! أقترح عليك قرية صغيرة على الساحل، على بعد ساعتين بالقطار. هل تسافر وحدك؟",
        ),
        Exchange(
            "مع زوجتي وطفلين.",
            "إذن أنصح بشقة قريبة من الشاطئ، فيها مطبخ وحديقة. السعر تسعون يورو لليلة الواحدة.",
            (Tool("search_flats", {"near": "beach", "people": 4}, {"found": 6}, 1.4),),
        ),
    ),
    language="ar",
    tags={"trip": "family", "language": "ar"},
)

_EMOJI = Topic(
    (
        Exchange(
            "Beach or mountains? 🏖️🏔️ We cannot decide 😅",
            "Why not both? 🎉 From {city} you are at the sea in twenty minutes and in the hills "
            "in an hour. 👨‍👩‍👧 With children, stay by the sea and hike on one day.",
        ),
        Exchange("👍", "Wonderful! Shall I look for flights from {home}? ✈️", (_FLIGHTS,)),
    ),
    tags={"trip": "family"},
)

TRAVEL_PLANNER = Agent(
    "travel-planner",
    "langgraph",
    ("gpt-4o", "claude-sonnet-4-5"),
    "You plan trips for people with little time. Ask when something important is missing.",
    (_WEEKEND, _WEEKEND, _TRAIN, _JA, _AR, _EMOJI),
    weight=4,
)
