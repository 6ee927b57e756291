"""The refund desk of a shop: orders, refunds, deliveries."""

from __future__ import annotations

from waxlocal.cli.scenarios.pieces import Agent, Exchange, Lookup, SubAgent, Tool, Topic

__all__ = ["REFUND_DESK"]

_ORDER = Tool(
    "get_order",
    {"order": "{order}"},
    {"order": "{order}", "item": "{item}", "paid": "{amount} EUR", "status": "delivered"},
)

_REFUND = Topic(
    (
        Exchange(
            "Hi, I would like to send back the {item} from order {order}. It does not fit.",
            "No problem. You can return the {item} free of charge, and you get your refund within "
            "14 days of its arrival here. Shall I make the return label?",
            (_ORDER, Lookup("returns of {item}", ("Returns policy", "Free return labels"))),
        ),
        Exchange(
            "Yes please. Do I need the original box?",
            "The label is on its way to your inbox. The original box is not needed: any sturdy box "
            "will do, as long as the {item} cannot move in it.",
            (Tool("make_label", {"order": "{order}", "carrier": "post"}, {"sent": True}),),
        ),
        Exchange(
            "How much will I get back, and when?",
            "You get the full {amount} euros on the card that you paid with. We start it on the "
            "day that the parcel arrives; most banks show it three to five days later.",
            (
                SubAgent(
                    "payments-checker",
                    {"order": "{order}", "question": "How was this order paid?"},
                    "Paid by card, {amount} euros, nothing refunded so far.",
                    (Tool("card_payments", {"order": "{order}"}, {"captured": "{amount}"}, 0.9),),
                ),
            ),
        ),
        Exchange("Perfect, thank you!", "You are welcome. Have a good {day}!"),
    ),
    tags={"topic": "refund"},
)

_LATE = Topic(
    (
        Exchange(
            "My order {order} should have come on {day}. Where is it?",
            "I am sorry about the wait. The carrier scanned your parcel last night in the depot "
            "near you; it should be with you tomorrow before noon.",
            (
                _ORDER,
                Tool("track_parcel", {"order": "{order}"}, {"last_scan": "depot", "late": True}),
            ),
        ),
        Exchange(
            "Tomorrow is too late, I am leaving in the morning. Can a neighbor take it?",
            "Yes. I have told the carrier that {name} next door may sign for it. You will get a "
            "text message as soon as it is there.",
            (Tool("change_delivery", {"order": "{order}", "to": "neighbor"}, {"accepted": True}),),
        ),
        Exchange(
            "And if it gets lost?",
            "Then we send another {item} at once, or refund you, whichever you prefer. A parcel "
            "counts as lost when nobody has scanned it for five days.",
        ),
    ),
    tags={"topic": "delivery"},
)

_DAMAGED = Topic(
    (
        Exchange(
            "The {item} arrived broken. Here is a photo.",
            "Oh no, I can see the crack. You do not have to send it back. Would you like a new "
            "{item} or your {amount} euros back?",
            (
                _ORDER,
                SubAgent(
                    "photo-inspector",
                    {"question": "Is the {item} in the photo damaged?"},
                    "Yes: a crack across the whole front, most likely from a fall.",
                ),
            ),
            image=True,
        ),
        Exchange(
            "A new one, please. How long will that take?",
            "It leaves our warehouse today and is with you in {count} days. Please put the broken "
            "one in the bin for metal or electronics.",
            (Tool("reserve_stock", {"item": "{item}", "pieces": 1}, {"reserved": True}),),
        ),
    ),
    tags={"topic": "damage"},
)

_INVOICE = Topic(
    (
        Exchange(
            "Can I have an invoice for order {order} made out to my company?",
            "Of course. Tell me the company's name and its VAT number, and I will send the "
            "invoice as a PDF.",
            (_ORDER,),
        ),
        Exchange(
            "{name} & Partners, the VAT number is in my account.",
            "Found it. The invoice over {amount} euros is in your inbox, and under *Orders* in "
            "your account.",
            (Tool("make_invoice", {"order": "{order}"}, {"pages": 1, "sent": True}),),
        ),
    ),
    tags={"topic": "invoice"},
)

_VOUCHER = Topic(
    (
        Exchange(
            "My voucher code is not accepted at the checkout. What am I doing wrong?",
            "Nothing: that voucher is only for orders over 50 euros, and yours is {amount}. Add "
            "something small, or keep it; it is valid until the end of {month}.",
            (Tool("check_voucher", {"basket": "{amount}"}, {"minimum": 50, "valid": True}),),
        ),
        Exchange(
            "Could you make an exception?",
            "I am not allowed to change the minimum, but I can give you free shipping on this "
            "order. Would that help?",
        ),
        Exchange("That helps, thanks.", "Done: shipping is free for the next 24 hours."),
    ),
    tags={"topic": "voucher"},
)

_DE = Topic(
    (
        Exchange(
            "Guten Tag, ich möchte meine Bestellung {order} stornieren. Geht das noch?",
            "Guten Tag! Ja, die Bestellung ist noch nicht verpackt. Soll ich sie ganz stornieren "
            "oder nur einen Artikel?",
            (_ORDER,),
        ),
        Exchange(
            "Ganz, bitte. Wann bekomme ich das Geld zurück?",
            "Die Bestellung ist storniert. Die {amount} Euro sind in drei bis fünf Werktagen "
            "wieder auf Ihrem Konto. Schöne Grüße!",
            (Tool("cancel_order", {"order": "{order}"}, {"cancelled": True}),),
        ),
    ),
    language="de",
    tags={"topic": "refund", "language": "de"},
)

REFUND_DESK = Agent(
    "refund-desk",
    "openai",
    ("gpt-4o-mini", "gpt-4o"),
    "You are the refund desk of a small outdoor and household shop. Be kind and brief. Never "
    "promise a refund that the returns policy does not give.",
    (_REFUND, _REFUND, _LATE, _DAMAGED, _INVOICE, _VOUCHER, _DE),
    provider="openai",
    weight=6,
)
