"""Which read models are kept from the events of companies' products; their functions stand in the migration of lifecycles."""

from memory.projections import Projector, Table, register

AGGREGATE = "company_product"

register(
    Projector("company_product_read_model", AGGREGATE, (Table("company_product_read_model"),), order=1),
    Projector("company_product_stage_facts", AGGREGATE, (Table("company_product_stage_facts"),), order=2),
    Projector("sla_breach_facts", AGGREGATE, (Table("sla_breach_facts"),), order=2),
    Projector("ai_suggestions", AGGREGATE, (Table("ai_suggestions_read_model"),), order=2),
    Projector(
        "pipeline_stage_counts",
        AGGREGATE,
        (
            Table("product_pipeline_stage_counts"),
            Table("product_standing_counts"),
            Table("pipeline_dirty_stages", internal=True),
            Table("pipeline_dirty_products", internal=True),
        ),
        order=3,
        inline=False,
        settles=True,
        counts=True,
    ),
)
