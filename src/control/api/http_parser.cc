// The one place that includes Boost.Beast: of all its parts only the parsers, which take bytes and
// own no socket.
#include "control/api/http_parser.h"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/string_body.hpp>

namespace bellhop::control {

namespace {

namespace http = boost::beast::http;

template <class Parser>
void set_limits(Parser& parser, const HttpLimits& limits) {
  parser.eager(true);
  parser.header_limit(limits.head);
  parser.body_limit(limits.body);
}

template <class Parser>
HttpStep put_into(Parser& parser, std::string_view bytes) {
  HttpStep step;
  while (!parser.is_done() && step.taken < bytes.size()) {
    const std::string_view left = bytes.substr(step.taken);
    boost::beast::error_code error;
    const std::size_t taken =
        parser.put(boost::asio::const_buffer(left.data(), left.size()), error);
    step.taken += taken;
    if (error == http::error::need_more) break;
    if (error == http::error::header_limit) {
      step.progress = HttpProgress::kHeadTooLarge;
      return step;
    }
    if (error == http::error::body_limit) {
      step.progress = HttpProgress::kBodyTooLarge;
      return step;
    }
    if (error) {
      step.progress = HttpProgress::kMalformed;
      return step;
    }
    if (taken == 0) break;
  }
  if (parser.is_done()) step.progress = HttpProgress::kComplete;
  return step;
}

}  // namespace

class HttpRequestParser::Impl {
 public:
  explicit Impl(const HttpLimits& limits) { set_limits(parser, limits); }
  http::request_parser<http::string_body> parser;
};

HttpRequestParser::HttpRequestParser(HttpLimits limits)
    : limits_(limits), impl_(std::make_unique<Impl>(limits)) {}
HttpRequestParser::~HttpRequestParser() = default;

HttpStep HttpRequestParser::put(std::string_view bytes) { return put_into(impl_->parser, bytes); }

bool HttpRequestParser::expects_continue() const {
  const auto& parser = impl_->parser;
  if (!parser.is_header_done() || parser.is_done()) return false;
  const auto& request = parser.get();
  return request.version() >= 11 &&
         boost::beast::iequals(request[http::field::expect], "100-continue");
}

bool HttpRequestParser::under_way() const {
  return impl_->parser.got_some() && !impl_->parser.is_done();
}

HttpRequest HttpRequestParser::take() {
  auto message = impl_->parser.release();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.keep_alive = message.keep_alive();
  request.body = std::move(message.body());
  impl_ = std::make_unique<Impl>(limits_);
  return request;
}

class HttpResponseParser::Impl {
 public:
  explicit Impl(const HttpLimits& limits) { set_limits(parser, limits); }
  http::response_parser<http::string_body> parser;
};

HttpResponseParser::HttpResponseParser(HttpLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
HttpResponseParser::~HttpResponseParser() = default;

HttpStep HttpResponseParser::put(std::string_view bytes) { return put_into(impl_->parser, bytes); }

HttpProgress HttpResponseParser::end() {
  boost::beast::error_code error;
  if (impl_->parser.got_some()) impl_->parser.put_eof(error);
  return !error && impl_->parser.is_done() ? HttpProgress::kComplete : HttpProgress::kMalformed;
}

HttpResponse HttpResponseParser::take() {
  auto message = impl_->parser.release();
  return {.status = message.result_int(), .body = std::move(message.body())};
}

}  // namespace bellhop::control
