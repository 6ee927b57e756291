"""The data analyst, who answers with tables, and the reader of invoices."""

from __future__ import annotations

from waxlocal.cli.scenarios.pieces import Agent, Exchange, Lookup, SubAgent, Tool, Topic

__all__ = ["DATA_ANALYST", "INVOICE_READER"]

_SQL = Tool(
    "run_sql",
    {"query": "select region, count(*) from {table} group by region"},
    {"rows": [{"region": "north", "n": 4_120}, {"region": "south", "n": 3_077}]},
    2.8,
)
_SCHEMA = Tool("describe_table", {"table": "{table}"}, {"columns": ["id", "region", "at"]}, 0.4)

_REGIONS = Topic(
    (
        Exchange(
            "How many {table} did we have last month, by region?",
            "7,197 in all:\n\n| region | {table} | share |\n|---|---:|---:|\n"
            "| north | 4,120 | 57 % |\n| south | 3,077 | 43 % |\n\n"
            "That is {percent} percent more than the month before.",
            (
                _SCHEMA,
                SubAgent(
                    "sql-writer",
                    {"question": "Count {table} of last month by region"},
                    "Grouped by region, for the last full month in UTC.",
                    (_SQL,),
                ),
            ),
        ),
        Exchange(
            "Why is {region} so much weaker?",
            "Mostly because of one week: from the 9th to the 15th the payment page was down for "
            "{minutes} hours there. Without that week, {region} is on last year's level.",
            (_SQL, Lookup("incidents {region}", ("Payment page down", "Status page"), "wiki")),
        ),
        Exchange(
            "Show me the query.",
            "```sql\nSELECT region, count(*) AS n\nFROM {table}\n"
            "WHERE at >= date_trunc('month', now()) - interval '1 month'\n"
            "GROUP BY region\nORDER BY n DESC;\n```",
        ),
        Exchange(
            "Can you make a forecast for {month}?",
            "If nothing changes: about 7,600 {table} in {month}, give or take 400. The range is "
            "wide because last {month} had a campaign in it.",
            (Tool("fit_trend", {"table": "{table}", "months": 24}, {"slope": 71.5}, 4.6),),
        ),
    ),
    tags={"team": "sales"},
)

_CHURN = Topic(
    (
        Exchange(
            "Which customers are likely to leave us this quarter?",
            "{count} of the fifty largest show the usual signs: fewer logins, and an open ticket "
            "of more than ten days. The largest of them is {name} & Sons.",
            (_SCHEMA, _SQL, Tool("score_customers", {"top": 50}, {"at_risk": 4}, 5.2)),
        ),
        Exchange(
            "How sure are you?",
            "Of last quarter's list, seven in ten did leave. Of those not on it, one in forty.",
        ),
        Exchange(
            "Write two sentences for the board.",
            "We expect to lose {percent} percent of revenue to churn this quarter unless we act. "
            "Most of it depends on {count} customers, whose tickets we can close this week.",
        ),
    ),
    tags={"team": "board"},
)

_QUALITY = Topic(
    (
        Exchange(
            "The dashboard shows zero {table} for yesterday. Is that right?",
            "No. The import of last night stopped half-way: the file from {region} has a column "
            "more than before. I have started it again; the numbers will be there in {minutes} "
            "minutes.",
            (
                Tool("import_log", {"day": "yesterday"}, "unexpected column: discount_code", 0.7),
                _SQL,
            ),
        ),
        Exchange(
            "Please tell {name} when it is done.",
            "I have told {name} just now: 233 {table} for yesterday, which is a normal {day}.",
        ),
    ),
    tags={"team": "data"},
)

DATA_ANALYST = Agent(
    "data-analyst",
    "nested",
    ("gpt-4.1", "gpt-4.1-mini", "analyst-13b"),
    "You answer questions about the company's data. Say which table a number comes from.",
    (_REGIONS, _CHURN, _QUALITY),
    weight=3,
)

_READ = Topic(
    (
        Exchange(
            "Please read this invoice and tell me when it must be paid.",
            "It is invoice number 2,117 of {name} & Co. over {amount} euros. It must be paid by "
            "the end of {month}; with 2 percent off if you pay within ten days.",
            (Tool("read_document", {"pages": 1}, {"total": "{amount}", "due": "{month}"}, 1.8),),
            image=True,
        ),
        Exchange(
            "Is the VAT right?",
            "Yes: 19 percent of the net amount, rounded to the cent.",
            (Tool("check_vat", {"rate": 19}, {"correct": True}, 0.3),),
        ),
        Exchange(
            "Have we paid it already?",
            "No payment to {name} & Co. of this amount is in the ledger so far.",
            (Lookup("payments to {name}", ("Ledger, {month}", "Open items"), "ledger"),),
        ),
    ),
    tags={"desk": "accounts"},
)

_EXPENSES = Topic(
    (
        Exchange(
            "Which of these expenses can I claim? Hotel in {city}, a taxi, and dinner for {count}.",
            "The hotel and the taxi, yes. Dinner counts if you write down who was there and why; "
            "then it is 70 percent.",
            (Lookup("meals with guests", ("Travel policy", "Meals and guests"), "handbook"),),
        ),
        Exchange(
            "It was with {name} from our supplier, about the new contract.",
            "Then 70 percent of the dinner can be claimed. I have added the reason to the form.",
            (Tool("fill_form", {"form": "travel expenses"}, {"fields": 11}, 0.6),),
        ),
    ),
    tags={"desk": "travel"},
)

INVOICE_READER = Agent(
    "invoice-reader",
    "responses",
    ("gpt-5-mini", "gpt-4.1-mini"),
    "You read invoices and receipts. Numbers must be exactly those on the paper.",
    (_READ, _READ, _EXPENSES),
    provider="openai",
    weight=2,
)
