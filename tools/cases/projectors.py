"""Which read models are kept from the events of support cases; their functions stand in the migration of cases."""

from memory.projections import Projector, Table, register

AGGREGATE = "support_case"

register(
    Projector("support_case_read_model", AGGREGATE, (Table("support_case_read_model"),), order=1),
    Projector("support_case_sla_facts", AGGREGATE, (Table("support_case_sla_facts"),), order=2),
    Projector(
        "open_case_counts",
        AGGREGATE,
        (Table("company_product_open_case_counts"), Table("company_open_case_counts")),
        order=3,
    ),
)
