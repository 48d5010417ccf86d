/** What `hearth` says when it is asked how. Pure. */
export const usageText = `hearth serve    sell access to the configured models
hearth demo     try it: play money, a sandbox model (or Ollama on this machine), loopback only
hearth key      list, show, replace or end the tokens of buyers
hearth prices   the public prices in use, newer ones (update), what to ask for a model of your own (suggest)
hearth secret   keep keys, macaroons and passwords sealed; settings name them as "secret:NAME"
hearth lnc      pair: reach an LND by Lightning Node Connect, with the ten words of a session
hearth payouts  money out: list, switch, decide what no node knows, confirm after a restore
hearth reconcile  hold the node and the ledger against each other, both ways
hearth node     whose node this data directory belongs to; replace puts another in its place
hearth audit    prove every balance from the journal; exit 1 if anything does not add up
hearth backup   a copy of ledger, keys and settings, also beside a running Hearth; restore puts one back
hearth doctor   check what Hearth depends on, one line each

Settings: hearth.toml in the data directory (or HEARTH_CONFIG), and the environment:
  HEARTH_DATA_DIR, HEARTH_PORT (4402), HEARTH_OWNER_PORT (4403), HEARTH_PUBLIC_URL,
  HEARTH_UPSTREAM_URL, HEARTH_UPSTREAM_KEY
`;
