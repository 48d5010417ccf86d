-- wrk's side of W1 and W3: POSTs one body, with each credential in turn, and ends with one line of JSON.
local body = os.getenv("BENCH_BODY")
local requests = {}
local turn = 0

function init(args)
  local function add(headers)
    headers["Content-Type"] = "application/json"
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
  for credential in string.gmatch(os.getenv("BENCH_CREDENTIALS") or "", "[^\n]+") do add({ Authorization = credential }) end
  if #requests == 0 then add({}) end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"seconds":%.6f,"p50Ms":%.4f,"p99Ms":%.4f,"badStatus":%d,"socketErrors":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
