/** What the owner paid for a call, in micro-dollars, where the upstream said so. */
export const upstreamCost = `
ALTER TABLE call ADD COLUMN upstream_cost_micros INTEGER CHECK (upstream_cost_micros >= 0);
`;
