"""The library's desk, the helper of those on call, and a guide in many languages."""

from __future__ import annotations

from waxlocal.cli.scenarios.pieces import Agent, Exchange, Lookup, SubAgent, Tool, Topic

__all__ = ["CITY_GUIDE", "LIBRARY_DESK", "NIGHTLY_DIGEST", "ON_CALL_HELPER"]

_BOOKS = Topic(
    (
        Exchange(
            "Do you have anything by {author} that is not too long?",
            "Three of the shorter ones are on the shelf today. My favorite has 140 pages; it is "
            "on the first floor, shelf 833.",
            (Lookup("{author}, short", ("Collected stories", "A short novel"), "catalogue"),),
        ),
        Exchange(
            "Can you keep it for me until {day}?",
            "Yes, it waits for you at the desk until {day}, six o'clock. Bring your card.",
            (Tool("reserve", {"until": "{day}"}, {"reserved": True}),),
        ),
        Exchange(
            "What should I read after that?",
            "If you like the quiet ones, try the diaries. If you want something funnier, the "
            "essays. Both are at the Eastside branch.",
        ),
    ),
    tags={"channel": "web"},
)

_LOANS = Topic(
    (
        Exchange(
            "Renew my loans, please.",
            "All {count} are yours for three more weeks.",
            (Tool("loans", {"of": "me"}, {"open": 4}), Tool("renew", {"all": True}, {"ok": True})),
        ),
        Exchange(
            "Do I owe you anything?",
            "You have a fee of 1.40 euros from last month. You can pay it at the machine, or with "
            "your next visit.",
            (Tool("fees", {"of": "me"}, {"cents": 140}, 0.3),),
        ),
    ),
    tags={"channel": "phone"},
)

_ROOM = Topic(
    (
        Exchange(
            "Is there a quiet room for {count} on {day} afternoon?",
            "Room 2 is free from 14:00 to 16:00. It has a screen, but no window. Shall I hold it?",
            (Tool("rooms", {"day": "{day}"}, {"free": ["2", "5"]}, 1.2),),
        ),
        Exchange("Yes, for {name}.", "Room 2 is yours on {day} from 14:00, under {name}."),
    ),
    tags={"channel": "web"},
)

_COVER = Topic(
    (
        Exchange(
            "Do you have the book with this cover? I found it in a café.",
            "That is the second edition of an atlas of our valley. We have one copy for use in the "
            "hall, and the third edition to take home.",
            (Lookup("atlas of the valley", ("Atlas, 2nd edition", "Atlas, 3rd edition")),),
            image=True,
        ),
        Exchange(
            "I would like to take the newer one.",
            "It is at the desk for you, until {day}.",
            (Tool("reserve", {"until": "{day}"}, {"reserved": True}),),
        ),
    ),
    tags={"channel": "web"},
)

LIBRARY_DESK = Agent(
    "library-desk",
    "plain",
    ("gpt-4o-mini", "reading-voice-7b"),
    "You are the help desk of a public library.",
    (_BOOKS, _LOANS, _ROOM, _COVER),
    weight=4,
)

_LOGS = Tool(
    "search_logs",
    {"service": "{service}", "since": "30 min", "level": "error"},
    "412 lines: connection pool is exhausted",
    2.2,
)
_ALERT = Topic(
    (
        Exchange(
            "{service} is paging: error rate above 5 percent since {minutes} minutes. What is it?",
            "The connection pool of {service} is exhausted since the deploy of this morning: each "
            "request now opens two connections.\n\n**Do first:** roll back to the version of "
            "yesterday.\n\n**Then:** raise the pool from 20 to 40 before you deploy again.",
            (
                _LOGS,
                Tool("metrics", {"service": "{service}", "of": "errors"}, {"now": 0.071}, 1.1),
                SubAgent(
                    "deploy-historian",
                    {"service": "{service}", "hours": 24},
                    "One deploy, at 08:12, by {name}: a second database client.",
                    (Tool("deploys", {"service": "{service}"}, {"count": 1}, 0.8),),
                ),
            ),
        ),
        Exchange(
            "Rolled back. Is it better?",
            "Yes: the error rate of {service} fell from 7.1 to 0.2 percent within three minutes.",
            (Tool("metrics", {"service": "{service}", "of": "errors"}, {"now": 0.002}, 1.1),),
        ),
        Exchange(
            "Write the note for the channel, please.",
            "> **{service}**: errors for {minutes} minutes this {day}, caused by a deploy that "
            "opened too many connections. Rolled back; no data was lost. {name} follows up.",
        ),
    ),
    tags={"severity": "high"},
)

_DISK = Topic(
    (
        Exchange(
            "A disk of {service} is 91 percent full. Can I delete the old logs?",
            "Yes, all that are older than 14 days; they are in the archive, too. That frees about "
            "{minutes} gigabytes. Do not delete `current.log`.",
            (Tool("disk_usage", {"service": "{service}"}, {"percent": 91}, 0.9),),
        ),
        Exchange(
            "Done. Why did nobody rotate them?",
            "The rotation runs as a user that was removed in {month}. I have opened a ticket for "
            "{name}'s team.",
            (_LOGS, Tool("open_ticket", {"team": "platform"}, {"opened": True}, 0.7)),
        ),
    ),
    tags={"severity": "low"},
)

ON_CALL_HELPER = Agent(
    "on-call-helper",
    "pydantic",
    ("claude-sonnet-4-5", "gpt-4.1"),
    "You help whoever is on call. First what to do, then why.",
    (_ALERT, _ALERT, _DISK),
    weight=2,
)

_TH = Topic(
    (
        Exchange(
            "สวัสดีค่ะ ร้านอาหารเจแถวนี้มีที่ไหนแนะนำบ้างคะ",
            "สวัสดีครับ มีสองร้านที่เดินไปได้ ร้านแรกอยู่ข้างตลาด เปิดถึงสามทุ่มครับ",
            (Lookup("ร้านอาหารเจ", ("ร้านข้างตลาด", "ร้านริมคลอง"), "places"),),
        ),
        Exchange("ขอบคุณค่ะ", "ยินดีครับ ขอให้ทานให้อร่อยนะครับ 🙏"),
    ),
    language="th",
    tags={"language": "th"},
)
_CN = Topic(
    (
        Exchange(
            "附近有什么适合带老人去的公园?",
            "推荐滨江公园:路很平,长椅很多,还有一个茶馆。从这里坐公交车十分钟就到。",
            (Lookup("公园 老人", ("滨江公园", "植物园"), "places"),),
        ),
        Exchange("周一开门吗?", "开门,早上六点到晚上九点,不收门票。"),
    ),
    language="zh",
    tags={"language": "zh"},
)
_FR = Topic(
    (
        Exchange(
            "Bonjour, où peut-on déjeuner en terrasse près du musée ?",
            "Juste à côté, il y a une petite place avec trois cafés. Celui du coin a du soleil "
            "jusqu'à 15 heures, et le plat du jour y coûte 13 euros.",
            (Lookup("déjeuner terrasse", ("Café du coin", "Chez Zoé"), "places"),),
        ),
        Exchange(
            "Et pour une personne qui ne mange pas de gluten ?",
            "Alors plutôt « Chez Zoé » : la carte indique les allergènes, et le pain est sans "
            "gluten sur demande.",
        ),
    ),
    language="fr",
    tags={"language": "fr"},
)
_EN = Topic(
    (
        Exchange(
            "What is on in {city} tonight?",
            "A concert in the old fire station at eight, an open-air film in the park at nine, "
            "and the night market until midnight. The market is free.",
            (Tool("events", {"city": "{city}", "when": "tonight"}, {"found": 17}, 1.3),),
        ),
        Exchange(
            "How do I get to the market from the station?",
            "Take tram 4 towards the harbor and get off at the third stop; it is 12 minutes. On "
            "foot it is half an hour along the river.",
            (Tool("route", {"to": "night market"}, {"minutes": 12}, 0.9),),
        ),
    ),
)

_PHOTO = Topic(
    (
        Exchange(
            "What is the building in this photo?",
            "It is the old water tower, built in 1904. You can go up for two euros; the view over "
            "the river is best in the evening.",
            image=True,
        ),
        Exchange("How many steps is it?", "There are 212 steps, and no lift."),
    ),
)

CITY_GUIDE = Agent(
    "city-guide",
    "gemini",
    ("gemini-2.5-flash", "gemini-2.5-pro"),
    "You are a guide for visitors. Answer in the language of the question.",
    (_EN, _EN, _PHOTO, _TH, _CN, _FR),
    provider="google",
    weight=3,
)

_DIGEST = Topic(
    (
        Exchange(
            "Sum up the day for the team.",
            "Quiet {day}: {minutes} new conversations about refunds, {count} of them escalated. "
            "The longest wait was {minutes} minutes. Most asked about: {item}.",
            (
                Tool("count_conversations", {"day": "yesterday"}, {"refunds": "{minutes}"}, 2.0),
                SubAgent(
                    "headline-writer",
                    {"day": "{day}", "tone": "calm"},
                    "A quiet {day} at the refund desk",
                ),
            ),
        ),
    ),
)

NIGHTLY_DIGEST = Agent(
    "nightly-digest",
    "plain",
    ("gpt-4.1-mini",),
    "You write a digest of the day, in three sentences.",
    (_DIGEST,),
    provider="openai",
)
