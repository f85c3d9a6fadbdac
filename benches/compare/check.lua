-- The requests of wrk, all made before the first is sent, so that making them is no part of what is measured.
--   wrk ... URL -- check KEY FILE-OF-TOKENS     or     wrk ... URL -- healthz

local requests, at = {}, 0

function init(args)
    if args[1] == "check" then
        local headers = { ["Authorization"] = "Bearer " .. args[2], ["Content-Type"] = "application/json" }
        for token in io.lines(args[3]) do
            requests[#requests + 1] = wrk.format("POST", "/v1/sessions/check", headers, '{"token":"' .. token .. '"}')
        end
        math.randomseed(os.time())
        at = math.random(#requests)
    else
        requests[1] = wrk.format("GET", "/healthz")
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format('{"requests":%d,"microseconds":%d,"failed":%d,"p50_us":%d,"p99_us":%d}\n',
        summary.requests, summary.duration,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
