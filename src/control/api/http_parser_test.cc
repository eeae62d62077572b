#include "control/api/http_parser.h"

#include <gtest/gtest.h>

#include <string>

namespace bellhop::control {
namespace {

using namespace std::string_literals;

/// Puts `bytes` in pieces of `piece`, as they might come over a socket.
HttpProgress put(HttpRequestParser& parser, std::string_view bytes, std::size_t piece,
                 std::string* left = nullptr) {
  std::string in;
  HttpStep step;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    in += bytes.substr(at, piece);
    step = parser.put(in);
    in.erase(0, step.taken);
    if (step.progress == HttpProgress::kComplete && left != nullptr) {
      *left = in + std::string(bytes.substr(std::min(at + piece, bytes.size())));
    }
    if (step.progress != HttpProgress::kNeedsMore) return step.progress;
  }
  return step.progress;
}

TEST(HttpRequestParserTest, TakesARequestWhereverItIsCut) {
  const std::string text =
      "PUT /api/v1/vm.resize HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{a:1}GET /";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    HttpRequestParser parser;
    std::string left;
    ASSERT_EQ(put(parser, text, piece, &left), HttpProgress::kComplete) << piece;
    const HttpRequest request = parser.take();
    EXPECT_EQ(request.method, "PUT");
    EXPECT_EQ(request.target, "/api/v1/vm.resize");
    EXPECT_EQ(request.body, "{a:1}");
    EXPECT_TRUE(request.keep_alive);
    EXPECT_EQ(left, "GET /") << piece;
    EXPECT_FALSE(parser.under_way()) << "it begins with the next";
  }
}

TEST(HttpRequestParserTest, TakesChunkedBodies) {
  HttpRequestParser parser;
  const std::string text =
      "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2;name=value\r\nde\r\n0\r\n\r\n";
  ASSERT_EQ(put(parser, text, 7), HttpProgress::kComplete);
  EXPECT_EQ(parser.take().body, "abcde");
}

TEST(HttpRequestParserTest, KnowsWhoMeansToGoOn) {
  HttpRequestParser parser;
  ASSERT_EQ(put(parser, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 100),
            HttpProgress::kComplete);
  EXPECT_FALSE(parser.take().keep_alive);
  ASSERT_EQ(put(parser, "GET / HTTP/1.0\r\n\r\n", 100), HttpProgress::kComplete);
  EXPECT_FALSE(parser.take().keep_alive);
}

TEST(HttpRequestParserTest, HasLimits) {
  HttpRequestParser long_head;
  EXPECT_EQ(put(long_head, "GET / HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n", 1000),
            HttpProgress::kHeadTooLarge);
  HttpRequestParser long_target;
  EXPECT_EQ(put(long_target, "GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n\r\n", 1000),
            HttpProgress::kHeadTooLarge);
  HttpRequestParser announced;
  EXPECT_EQ(put(announced, "PUT / HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", 100),
            HttpProgress::kBodyTooLarge)
      << "before the first byte of it";
  HttpRequestParser chunked;
  std::string text = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 70; ++i) text += "400\r\n" + std::string(1024, 'x') + "\r\n";
  EXPECT_EQ(put(chunked, text, 5000), HttpProgress::kBodyTooLarge);
}

TEST(HttpRequestParserTest, RefusesWhatIsNone) {
  for (const std::string& text :
       {"hello\r\n\r\n"s, "GET / HTTP/9.9\r\n\r\n"s, "GET\0/ HTTP/1.1\r\n\r\n"s,
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"s,
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"s,
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"s,
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"s, "\r\n\r\n\r\n"s}) {
    HttpRequestParser parser;
    EXPECT_EQ(put(parser, text, text.size()), HttpProgress::kMalformed) << text;
  }
}

TEST(HttpRequestParserTest, SeesWhoWaitsForLeave) {
  HttpRequestParser parser;
  ASSERT_EQ(put(parser, "PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", 100),
            HttpProgress::kNeedsMore);
  EXPECT_TRUE(parser.expects_continue());
  EXPECT_TRUE(parser.under_way());
  ASSERT_EQ(put(parser, "{}", 2), HttpProgress::kComplete);
  EXPECT_EQ(parser.take().body, "{}");
}

TEST(HttpResponseParserTest, TakesAnAnswer) {
  HttpResponseParser parser({});
  const std::string text = to_bytes({.status = 200, .body = "{\"a\":1}"}, true);
  EXPECT_EQ(parser.put(text).progress, HttpProgress::kComplete);
  const HttpResponse response = parser.take();
  EXPECT_EQ(response.status, 200U);
  EXPECT_EQ(response.body, "{\"a\":1}");
}

TEST(HttpResponseParserTest, AnEndInTheMiddleIsNone) {
  HttpResponseParser parser({});
  EXPECT_EQ(parser.put("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").progress,
            HttpProgress::kNeedsMore);
  EXPECT_EQ(parser.end(), HttpProgress::kMalformed);
  HttpResponseParser nothing({});
  EXPECT_EQ(nothing.end(), HttpProgress::kMalformed);
}

}  // namespace
}  // namespace bellhop::control
